//! Termination signals as messages. Glommio has no signals: an OS thread of signal-hook receives
//! them and passes them to whichever executor waits.
//! Invariant: a second signal is a message of its own (the receiver may leave at once); nothing
//! in here ends the process.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::mailbox::{Receiver, mailbox};

/// SIGTERM and SIGINT from now on come here instead of ending the process.
pub fn termination() -> io::Result<Receiver<i32>> {
    let (sender, receiver) = mailbox(16);
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("spindle-signals".into()).spawn(move || {
        super::machine::use_process_cpus();
        for signal in signals.forever() {
            let _ = sender.try_send(signal); // full: the receiver has enough to act on
        }
    })?;
    Ok(receiver)
}
