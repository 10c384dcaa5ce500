//! SIGTERM and SIGINT, as messages: glommio knows no signals. A thread waits for them.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Where the name of each termination signal arrives.
pub struct Termination {
    receiver: async_channel::Receiver<&'static str>,
}

impl Termination {
    pub async fn recv(&self) -> &'static str {
        // The sender lives as long as the process.
        self.receiver.recv().await.unwrap_or("the signal thread ended")
    }
}

/// From here on SIGTERM and SIGINT do not end the process; they are received.
pub fn termination() -> io::Result<Termination> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (sender, receiver) = async_channel::unbounded();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
            if sender.try_send(name).is_err() {
                return;
            }
        }
    })?;
    Ok(Termination { receiver })
}
