//! What can be decided before anything starts: how many shards on which CPUs, which ports.
//! Nothing is changed on disk here; a port in use or a CPU that is not there ends the start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::config::BrokerConfig;
use crate::controller::BrokerEndpoint;
use crate::error::StartError;
use crate::runtime::{machine, sim, socket};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundListener {
    pub name: String,
    host: IpAddr,
    /// One port shared by all shards, or one a shard.
    pub ports: Vec<u16>,
    advertised_host: String,
    advertised_ports: Vec<u16>,
}

impl BoundListener {
    /// Where `shard` listens.
    pub fn address(&self, shard: usize) -> SocketAddr {
        SocketAddr::new(self.host, self.ports[shard % self.ports.len()])
    }

    /// What clients are told.
    pub fn advertised(&self) -> String {
        let (first, last) = (self.advertised_ports[0], self.advertised_ports.last());
        match last {
            Some(last) if *last != first => format!("{}:{first}-{last}", self.advertised_host),
            _ => format!("{}:{first}", self.advertised_host),
        }
    }
}

#[derive(Debug)]
pub struct Plan {
    pub config: Arc<BrokerConfig>,
    pub shard_count: usize,
    /// CPU of each shard; shorter than `shard_count` when there are more shards than CPUs.
    pub cpus: Vec<usize>,
    pub listeners: Vec<BoundListener>,
}

impl Plan {
    pub fn new(config: BrokerConfig) -> Result<Plan, StartError> {
        let online = machine::process_cpus();
        let shard_count = match (config.shard_count, config.shard_cpus.len()) {
            (0, 0) => online.len().max(1),
            (0, cpus) => cpus,
            (count, _) => count,
        };
        if config.broker_id > i32::MAX / 256 {
            return Err(StartError::config(format!(
                "broker.id={} is too large: 0 to {} are allowed",
                config.broker_id,
                i32::MAX / 256
            )));
        }
        let cpus = if config.shard_cpus.is_empty() {
            // More shards than CPUs: pinning two to one core would only hide it.
            if shard_count <= online.len() { online[..shard_count].to_vec() } else { Vec::new() }
        } else {
            config.shard_cpus.clone()
        };
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for l in &config.listeners {
            let wanted: Vec<u16> = match l.last_port {
                None => vec![l.port],
                Some(_) if l.port == 0 => free_port_range(shard_count, l.host)?,
                Some(last) => {
                    let ports: Vec<u16> = (l.port..=last).take(shard_count).collect();
                    if ports.len() < shard_count {
                        return Err(StartError::config(format!(
                            "listeners: {}://{}:{}-{last} has {} ports for {shard_count} shards; \
                             widen the range to {}-{} or set shard.count={}",
                            l.name,
                            l.host,
                            l.port,
                            ports.len(),
                            l.port,
                            u32::from(l.port) + shard_count as u32 - 1,
                            ports.len()
                        )));
                    }
                    ports
                }
            };
            let mut ports = Vec::with_capacity(wanted.len());
            for port in wanted {
                let address = SocketAddr::new(l.host, port);
                let free = wait_for_port(address).map_err(|e| in_use(address, &e))?;
                ports.push(free.port());
            }
            let advertised_ports = match l.advertised_port {
                None => ports.clone(),
                Some(first) => (0..ports.len() as u16).map(|i| first.saturating_add(i)).collect(),
            };
            listeners.push(BoundListener {
                name: l.name.clone(),
                host: l.host,
                ports,
                advertised_host: l.advertised_host.clone(),
                advertised_ports,
            });
        }
        Ok(Plan { config: Arc::new(config), shard_count, cpus, listeners })
    }

    pub fn endpoints(&self) -> Vec<BrokerEndpoint> {
        self.listeners
            .iter()
            .map(|l| BrokerEndpoint {
                listener: l.name.clone(),
                host: l.advertised_host.clone(),
                ports: l.advertised_ports.clone(),
            })
            .collect()
    }
}

/// A broker that was just killed holds its port until the kernel has taken its rings down.
fn wait_for_port(address: SocketAddr) -> std::io::Result<SocketAddr> {
    const TRIES: u32 = 40;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
    for _ in 1..TRIES {
        match socket::port_is_free(address) {
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && !sim::active() => {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
    socket::port_is_free(address)
}

fn in_use(address: SocketAddr, e: &std::io::Error) -> StartError {
    let cure = match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            "something listens there already: stop it, or set listeners to another port"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: set listeners to one that it has"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges: take a higher one"
        }
        _ => "set listeners to another address",
    };
    StartError::environment(format!("can't listen on {address} ({e}): {cure}"))
}

/// `count` consecutive ports that nobody listens on now.
pub fn free_port_range(count: usize, host: IpAddr) -> Result<Vec<u16>, StartError> {
    let host = if host.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { host };
    for _ in 0..64 {
        let first = match socket::port_is_free(SocketAddr::new(host, 0)) {
            Ok(address) => address.port(),
            Err(_) => continue,
        };
        let Some(last) = first.checked_add(count as u16 - 1) else { continue };
        if (first..=last).all(|p| socket::port_is_free(SocketAddr::new(host, p)).is_ok()) {
            return Ok((first..=last).collect());
        }
    }
    Err(StartError::environment(format!("no {count} consecutive free ports were found on {host}")))
}
