//! The cluster as members of groups see it: where each group's coordinator is, and connections to it that members
//! share or have for themselves. On the one executor of the measurement. Not here: what members say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use smallvec::SmallVec;

use crate::client::admin::resolve;
use crate::client::{Completion, Connection, RawRequest, error_name};
use crate::runtime::{now, sleep};
use crate::types::TopicId;
use crate::wire::frame;

const CLIENT: &str = "spindle-groups";
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(50);
/// Groups asked for in one FindCoordinator, which has room for many since v4.
const GROUPS_A_LOOKUP: usize = 1000;
/// Connections that are opened at the same time: a listener's backlog is finite.
const OPENED_AT_ONCE: usize = 64;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// Where a client writes its correlation id: after length, API key and version.
const CORRELATION_ID_AT: usize = 8;

pub struct Cluster {
    bootstrap: Connection,
    pools: RefCell<BTreeMap<SocketAddr, Vec<Connection>>>,
    pub limit: Duration,
}

impl Cluster {
    pub async fn find(host: &str, port: u16, limit: Duration) -> Result<Rc<Cluster>, String> {
        let addr = resolve(host, port).await.map_err(said)?;
        let bootstrap = Connection::connect(addr, CLIENT, CONNECT_LIMIT).await.map_err(said)?;
        Ok(Rc::new(Cluster { bootstrap, pools: RefCell::default(), limit }))
    }

    /// Creates the topic unless it is there; returns its id when every partition has a leader.
    pub async fn topic(&self, name: &str, partitions: i32) -> Result<TopicId, String> {
        let until = now() + self.limit;
        let made = self.bootstrap.create_topic(name, partitions, -1, &[], self.limit);
        made.await.map_err(said)?;
        loop {
            let found = self.bootstrap.metadata(Some(&[name]), self.limit).await.map_err(said)?;
            let led = |t: &&crate::client::admin::TopicMetadata| {
                t.partitions.iter().filter(|p| p.leader >= 0).count() == partitions as usize
            };
            if let Some(topic) = found.topics.iter().find(led) {
                return Ok(topic.topic_id);
            }
            if now() >= until {
                return Err(format!("topic {name} has no leaders after {:?}", self.limit));
            }
            sleep(RETRY).await;
        }
    }

    pub async fn delete_topic(&self, name: &str) -> Result<(), String> {
        self.bootstrap.delete_topic(name, self.limit).await.map_err(said)
    }

    /// Of each group, in their order. The first one asked for makes the broker create `__consumer_offsets`.
    pub async fn coordinators(&self, groups: &[String]) -> Result<Vec<SocketAddr>, String> {
        let until = now() + self.limit;
        let version = self.bootstrap.version(FindCoordinatorRequest::KEY, (4, 6)).map_err(said)?;
        let mut known: BTreeMap<(String, u16), SocketAddr> = BTreeMap::new();
        let mut all = Vec::with_capacity(groups.len());
        for some in groups.chunks(GROUPS_A_LOOKUP) {
            let keys = some.iter().map(|g| StrBytes::from_string(g.clone())).collect();
            let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
            loop {
                let answer =
                    self.bootstrap.call(version, &request, self.limit).await.map_err(said)?;
                let found = answer.coordinators;
                if let Some(bad) = found.iter().find(|c| c.error_code != 0) {
                    let retry = bad.error_code == COORDINATOR_NOT_AVAILABLE && now() < until;
                    if !retry {
                        let why = error_name(bad.error_code);
                        return Err(format!("the coordinator of {}: {why}", &*bad.key));
                    }
                    sleep(RETRY).await;
                    continue;
                }
                let by_key: BTreeMap<&str, _> = found.iter().map(|c| (&*c.key, c)).collect();
                for group in some {
                    let Some(c) = by_key.get(group.as_str()) else {
                        return Err(format!("FindCoordinator leaves out {group}"));
                    };
                    let place = (c.host.to_string(), c.port as u16);
                    if !known.contains_key(&place) {
                        let addr = resolve(&place.0, place.1).await.map_err(said)?;
                        known.insert(place.clone(), addr);
                    }
                    all.push(known[&place]);
                }
                break;
            }
        }
        Ok(all)
    }

    /// The first `count` connections to this coordinator; what is missing is opened.
    pub async fn connections(
        &self,
        addr: SocketAddr,
        count: usize,
    ) -> Result<Vec<Connection>, String> {
        let have = self.pools.borrow().get(&addr).map_or(0, Vec::len);
        let open = |_| Connection::connect(addr, CLIENT, CONNECT_LIMIT);
        let opened: Vec<_> = futures::stream::iter(have..count)
            .map(open)
            .buffer_unordered(OPENED_AT_ONCE)
            .collect()
            .await;
        let opened: Result<Vec<Connection>, _> = opened.into_iter().collect();
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(addr).or_default();
        pool.extend(opened.map_err(said)?);
        Ok(pool[..count].to_vec())
    }

    /// All of them end: the broker has nothing of ours but the groups.
    pub fn close(&self) {
        for connection in std::mem::take(&mut *self.pools.borrow_mut()).into_values().flatten() {
            connection.close("the measurement is over");
        }
    }
}

/// A request that is sent again and again: encoded once.
pub struct Template {
    api_key: i16,
    version: i16,
    frame: Box<[u8]>,
}

impl Template {
    pub fn new<R: Request>(version: i16, request: &R) -> Result<Template, String> {
        let frame = frame::encode_request(R::KEY, version, 0, CLIENT, request)?;
        Ok(Template { api_key: R::KEY, version, frame: frame[..].into() })
    }

    pub fn send(
        &self,
        connection: &Connection,
        done: impl FnOnce(Result<Bytes, String>) + 'static,
    ) {
        let correlation_id = connection.next_correlation_id();
        let mut frame = self.frame.to_vec();
        frame[CORRELATION_ID_AT..][..4].copy_from_slice(&correlation_id.to_be_bytes());
        let request = RawRequest {
            api_key: self.api_key,
            version: self.version,
            correlation_id,
            pieces: SmallVec::from_iter([Bytes::from(frame)]),
        };
        let told = |answer: Result<Bytes, _>| done(answer.map_err(said));
        connection.send(request, Completion::Answer(Box::new(told)));
    }
}

pub fn said(error: crate::client::ClientError) -> String {
    error.to_string()
}

/// What Kafka says, or nothing.
pub fn check(what: &str, code: i16) -> Result<(), String> {
    match code {
        0 => Ok(()),
        code => Err(format!("{what}: {}", error_name(code))),
    }
}

pub fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_string())
}
