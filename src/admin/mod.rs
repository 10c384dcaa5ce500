//! What `spindle topic|group|config|cluster` ask of a cluster, over Kafka's own protocol: any Kafka broker answers.
//! A session is one client of the cluster: it knows the bootstrap broker, finds the others, a group's coordinator
//! and a partition's leader, and keeps one connection to each. Answers are plain values that serialize.
//! Lives on the executor that opened it. Not here: options and printing (`cli`), the connection (`client`).

pub mod cluster;
pub mod configs;
pub mod groups;
pub mod offsets;
pub mod table;
pub mod topics;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;

use crate::client::admin::{BrokerNode, ClusterMetadata, resolve};
use crate::client::{ClientError, Connection};
use crate::runtime::executor::{ExecutorSpec, block_on};
use crate::runtime::{now, sleep};

const CLIENT_ID: &str = "spindle-cli";
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
/// Between two tries of what a broker asks to be tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Client(#[from] ClientError),
    /// What was asked for can't be meant: nothing was sent.
    #[error("{0}")]
    Input(String),
}

pub type Result<T> = std::result::Result<T, Failure>;

pub struct Session {
    bootstrap: Connection,
    pub limit: Duration,
    connections: RefCell<BTreeMap<(String, u16), Connection>>,
}

/// Runs `work` with a session on an executor of its own and waits for it.
pub fn with_session<T, W, F>(bootstrap: &str, limit: Duration, work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce(Session) -> F + Send + 'static,
    F: Future<Output = Result<T>> + 'static,
{
    let bootstrap = bootstrap.to_string();
    let spec = ExecutorSpec { name: CLIENT_ID.to_string(), cpu: None, spin_us: 0 };
    block_on(spec, move || async move { work(Session::open(&bootstrap, limit).await?).await })
        .map_err(|e| Failure::Input(e.to_string()))?
}

impl Session {
    /// `HOST:PORT[,HOST:PORT…]`: the first that answers.
    pub async fn open(bootstrap: &str, limit: Duration) -> Result<Session> {
        let mut last = Failure::Input("--bootstrap-server names no broker".to_string());
        for address in bootstrap.split(',').map(str::trim).filter(|a| !a.is_empty()) {
            let (host, port) = host_and_port(address)?;
            match connect(&host, port, limit).await {
                Ok(bootstrap) => {
                    return Ok(Session { bootstrap, limit, connections: RefCell::default() });
                }
                Err(e) => last = e.into(),
            }
        }
        Err(last)
    }

    /// For what any broker answers.
    pub fn any(&self) -> &Connection {
        &self.bootstrap
    }

    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<ClusterMetadata> {
        Ok(self.bootstrap.metadata(topics, self.limit).await?)
    }

    pub async fn node(&self, node: &BrokerNode) -> Result<Connection> {
        self.at(&node.host, node.port).await
    }

    async fn at(&self, host: &str, port: u16) -> Result<Connection> {
        let key = (host.to_string(), port);
        let open = self.connections.borrow().get(&key).filter(|c| c.closed().is_none()).cloned();
        if let Some(open) = open {
            return Ok(open);
        }
        let opened = connect(host, port, self.limit).await?;
        self.connections.borrow_mut().insert(key, opened.clone());
        Ok(opened)
    }

    pub async fn controller(&self) -> Result<Connection> {
        let cluster = self.metadata(Some(&[])).await?;
        match cluster.brokers.iter().find(|b| b.id == cluster.controller) {
            Some(node) => self.node(node).await,
            // Any broker of Kafka's forwards what is the controller's.
            None => Ok(self.bootstrap.clone()),
        }
    }

    /// The broker that coordinates `group`. Waits, up to the session's limit, for one to be there.
    pub async fn coordinator(&self, group: &str) -> Result<Connection> {
        let until = now() + self.limit;
        loop {
            let (code, message, host, port) = self.ask_coordinator(group).await?;
            if code == 0 {
                return self.at(&host, port).await;
            }
            let again = [COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE].contains(&code);
            if !again || now() >= until {
                let what = format!("finding the coordinator of group {group}");
                return Err(ClientError::Broker { what, code, message }.into());
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn ask_coordinator(&self, group: &str) -> Result<(i16, Option<String>, String, u16)> {
        const KEY: i16 = 10;
        let version = self.bootstrap.version(KEY, (0, 4))?;
        let request = FindCoordinatorRequest::default().with_key_type(0);
        let request = match version {
            4.. => request.with_coordinator_keys(vec![text(group)]),
            _ => request.with_key(text(group)),
        };
        let answer = self.bootstrap.call(version, &request, self.limit).await?;
        let said = |m: Option<StrBytes>| m.map(|m| m.to_string());
        if version < 4 {
            let (host, port) = (answer.host.to_string(), answer.port as u16);
            return Ok((answer.error_code, said(answer.error_message), host, port));
        }
        let Some(found) = answer.coordinators.into_iter().next() else {
            let why = format!("FindCoordinator: the answer leaves group {group} out");
            return Err(ClientError::Protocol(why).into());
        };
        Ok((found.error_code, said(found.error_message), found.host.to_string(), found.port as u16))
    }

    /// Asks a group's coordinator, again while it moves or loads. `ask` says the code it was answered with.
    pub async fn of_coordinator<T>(
        &self,
        group: &str,
        ask: impl AsyncFn(&Connection) -> Result<(i16, T)>,
    ) -> Result<(i16, T)> {
        let until = now() + self.limit;
        loop {
            let connection = self.coordinator(group).await?;
            let (code, answer) = ask(&connection).await?;
            let again = [COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR];
            if !again.contains(&code) || now() >= until {
                return Ok((code, answer));
            }
            sleep(AGAIN_AFTER).await;
        }
    }
}

async fn connect(
    host: &str,
    port: u16,
    limit: Duration,
) -> std::result::Result<Connection, ClientError> {
    let addr = resolve(host, port).await?;
    Connection::connect(addr, CLIENT_ID, limit).await
}

fn host_and_port(address: &str) -> Result<(String, u16)> {
    let wrong = |why: String| Failure::Input(format!("--bootstrap-server {address}: {why}"));
    let (host, port) =
        address.rsplit_once(':').ok_or_else(|| wrong("HOST:PORT is wanted".to_string()))?;
    let port = port.parse().map_err(|_| wrong(format!("{port} is no port")))?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_string(), port))
}

pub(crate) fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_string())
}

/// An error code of an answer becomes a failure that says what was being done.
pub(crate) fn check(
    what: impl FnOnce() -> String,
    code: i16,
    message: Option<&StrBytes>,
) -> Result<()> {
    match code {
        0 => Ok(()),
        code => {
            let message = message.map(|m| m.to_string()).filter(|m| !m.is_empty());
            Err(ClientError::Broker { what: what(), code, message }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(host_and_port("a:9092").unwrap(), ("a".to_string(), 9092));
        assert_eq!(host_and_port("[::1]:9092").unwrap(), ("::1".to_string(), 9092));
        assert!(host_and_port("a").unwrap_err().to_string().contains("HOST:PORT is wanted"));
        assert!(host_and_port("a:x").unwrap_err().to_string().contains("x is no port"));
    }
}
