//! Accept loops: one per listener and shard, never cancelled (a dropped accept leaks its socket).
//! Out of file descriptors: accept pauses, says so, goes on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::connection::Connection;
use crate::runtime::activity::{Activity, charged};
use crate::runtime::{self, Listener, sleep, spawn};
use crate::shard::Router;

/// How long accept rests when the process has no file descriptors left.
const EMFILE_PAUSE: Duration = Duration::from_millis(100);
/// How often idle connections are looked for.
const IDLE_SWEEP: Duration = Duration::from_secs(10);

pub struct ListenerOptions {
    /// Index into the configuration's listeners.
    pub index: usize,
    pub address: SocketAddr,
}

/// One shard's listeners and its connections.
pub struct Acceptor {
    router: Router,
    connections: RefCell<Connections>,
}

#[derive(Default)]
struct Connections {
    next_id: u64,
    open: BTreeMap<u64, Rc<Connection>>,
}

impl Acceptor {
    pub fn new(router: Router) -> Rc<Acceptor> {
        let acceptor = Rc::new(Acceptor { router, connections: RefCell::default() });
        spawn(acceptor.clone().close_idle());
        acceptor
    }

    /// Binds and starts to accept.
    pub fn listen(self: &Rc<Self>, options: ListenerOptions) -> std::io::Result<()> {
        let listener = Listener::bind(options.address)?;
        spawn(charged(Activity::Network, self.clone().accept(listener, options.index)));
        Ok(())
    }

    async fn accept(self: Rc<Self>, listener: Listener, index: usize) {
        let mut said = false;
        while !self.router.is_stopping() {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    said = false;
                    let limit = self.router.config().max_connections;
                    if self.connections.borrow().open.len() >= limit {
                        self.router.counters().connections_refused.add(1);
                        tracing::warn!(%peer, limit, "connection refused: raise max.connections");
                        stream.shutdown();
                        continue;
                    }
                    let connection = Connection::new(stream, peer, index, self.router.clone());
                    spawn(charged(Activity::Network, self.clone().serve(connection)));
                }
                Err(e) => {
                    let out_of_files =
                        matches!(e.raw_os_error(), Some(libc::EMFILE) | Some(libc::ENFILE));
                    if !said {
                        said = true;
                        if out_of_files {
                            tracing::error!(error = %e, "accept pauses: no file descriptors left; \
                                raise the limit (ulimit -n, LimitNOFILE=)");
                        } else {
                            tracing::warn!(error = %e, "accept failed; trying again");
                        }
                    }
                    sleep(EMFILE_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self: Rc<Self>, connection: Rc<Connection>) {
        let id = {
            let mut connections = self.connections.borrow_mut();
            let id = connections.next_id;
            connections.next_id += 1;
            connections.open.insert(id, connection.clone());
            id
        };
        self.router.counters().connections.add(1);
        connection.serve().await;
        self.router.counters().connections.sub(1);
        self.connections.borrow_mut().open.remove(&id);
    }

    async fn close_idle(self: Rc<Self>) {
        let limit = Duration::from_millis(self.router.config().connections_max_idle_ms);
        while !self.router.is_stopping() {
            sleep(IDLE_SWEEP).await;
            let now = runtime::now();
            for connection in self.connections.borrow().open.values() {
                if now.saturating_since(connection.last_active.get()) > limit {
                    connection.close();
                }
            }
        }
    }

    /// Ends every connection (a clean stop).
    pub fn close_all(&self) {
        let open: Vec<_> = self.connections.borrow().open.values().cloned().collect();
        for connection in open {
            connection.close();
        }
    }
}
