//! `listeners`, `advertised.listeners` and the names in `listener.security.protocol.map`: what to bind and
//! what to tell clients. A port range gives each shard a port of its own.
//! Only PLAINTEXT; TLS and SASL are refused rather than served in clear.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use super::broker::ListenerConfig;
use super::definitions::value::list;

struct Endpoint {
    name: String,
    host: String,
    port: u16,
    last_port: Option<u16>,
}

/// NAME://host:port, NAME://[v6]:port, NAME://:first-last.
fn parse(text: &str) -> Result<Endpoint, String> {
    let form = "write it as PLAINTEXT://host:port or PLAINTEXT://host:first-last";
    let (name, rest) = text.split_once("://").ok_or_else(|| format!("{text}: {form}"))?;
    let name = name.trim().to_ascii_uppercase();
    if name.is_empty() {
        return Err(format!("{text}: {form}"));
    }
    let (host, ports) = rest.rsplit_once(':').ok_or_else(|| format!("{text}: no port; {form}"))?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = match bracketed {
        Some(host) => host,
        None if host.contains(':') => {
            return Err(format!("{text}: an IPv6 address goes in brackets, as in [::1]:9092"));
        }
        None => host,
    };
    let port = |p: &str| {
        let parsed = p.trim().parse::<u16>();
        parsed.map_err(|_| format!("{text}: port {p} is not a number from 0 to 65535"))
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (port(first)?, Some(port(last)?)),
        None => (port(ports)?, None),
    };
    if last.is_some_and(|last| last < first || first == 0) {
        return Err(format!("{text}: a port range goes from a low port above 0 to a higher one"));
    }
    Ok(Endpoint { name, host: host.to_string(), port: first, last_port: last })
}

/// NAME:PROTOCOL,… as a map.
pub fn protocols(map: &str) -> Result<BTreeMap<String, String>, String> {
    list(map)
        .map(|pair| {
            let (name, protocol) =
                pair.split_once(':').ok_or_else(|| format!("{pair}: write it as NAME:PROTOCOL"))?;
            Ok((name.trim().to_ascii_uppercase(), protocol.trim().to_ascii_uppercase()))
        })
        .collect()
}

fn resolve(endpoint: &Endpoint) -> Result<IpAddr, String> {
    if endpoint.host.is_empty() {
        return Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    if let Ok(ip) = endpoint.host.parse() {
        return Ok(ip);
    }
    let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
    let addresses: Vec<IpAddr> = found.into_iter().flatten().map(|a| a.ip()).collect();
    let v4 = addresses.iter().find(|a| a.is_ipv4());
    v4.or(addresses.first()).copied().ok_or_else(|| {
        format!(
            "{} has no address on this machine; use one of its own, or leave it empty",
            endpoint.host
        )
    })
}

/// What clients are told when nothing says: the machine's name if it resolves, so that other machines
/// can follow it; else localhost, which at least works here.
fn name_of_this_machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let resolves = (name, 0).to_socket_addrs().is_ok_and(|mut a| a.next().is_some());
    if !name.is_empty() && resolves { name.to_string() } else { "localhost".to_string() }
}

/// The texts of the four keys, and warnings for what is left out.
pub struct ListenerKeys<'a> {
    pub listeners: &'a str,
    pub advertised: Option<&'a str>,
    pub protocol_map: &'a str,
    pub controller_names: &'a str,
}

/// Err: (the key to blame, why).
pub fn build(
    keys: &ListenerKeys<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<ListenerConfig>, (&'static str, String)> {
    let blame = |key: &'static str| move |why: String| (key, why);
    let protocols =
        protocols(keys.protocol_map).map_err(blame("listener.security.protocol.map"))?;
    let controllers: Vec<String> =
        list(keys.controller_names).map(|n| n.to_ascii_uppercase()).collect();
    let mut built: Vec<ListenerConfig> = Vec::new();
    for text in list(keys.listeners) {
        let endpoint = parse(text).map_err(blame("listeners"))?;
        if controllers.contains(&endpoint.name) {
            warnings.push(format!(
                "{text} is not opened: the controller of a single node needs no listener"
            ));
            continue;
        }
        let protocol = protocols.get(&endpoint.name).map_or("", String::as_str);
        match protocol {
            "PLAINTEXT" => {}
            "" => {
                let why = format!("{} is not in listener.security.protocol.map", endpoint.name);
                return Err(("listeners", why));
            }
            other => {
                let why = format!("{text} speaks {other}, which Spindle can't yet: use PLAINTEXT");
                return Err(("listeners", why));
            }
        }
        if built.iter().any(|l| l.name == endpoint.name) {
            return Err(("listeners", format!("two listeners are named {}", endpoint.name)));
        }
        let host = resolve(&endpoint).map_err(blame("listeners"))?;
        let advertised_host = match host.is_unspecified() {
            true => name_of_this_machine(),
            false => endpoint.host.clone(),
        };
        built.push(ListenerConfig {
            name: endpoint.name,
            host,
            port: endpoint.port,
            last_port: endpoint.last_port,
            advertised_host,
            advertised_port: None,
        });
    }
    if built.is_empty() {
        return Err(("listeners", "there is no listener for clients".to_string()));
    }
    for text in list(keys.advertised.unwrap_or("")) {
        let endpoint = parse(text).map_err(blame("advertised.listeners"))?;
        if controllers.contains(&endpoint.name) {
            continue;
        }
        let Some(listener) = built.iter_mut().find(|l| l.name == endpoint.name) else {
            let why = format!("{text}: no listener is named {}", endpoint.name);
            return Err(("advertised.listeners", why));
        };
        if endpoint.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
            let why = format!("{text}: clients can't connect to {}; name a host", endpoint.host);
            return Err(("advertised.listeners", why));
        }
        let ports = |first: u16, last: Option<u16>| last.map_or(1, |l| l - first + 1);
        let bound = ports(listener.port, listener.last_port);
        let told = ports(endpoint.port, endpoint.last_port);
        if endpoint.last_port.is_some() && told != bound {
            let why = format!("{text}: {told} ports, but {bound} of {} are bound", listener.name);
            return Err(("advertised.listeners", why));
        }
        if !endpoint.host.is_empty() {
            listener.advertised_host = endpoint.host;
        }
        listener.advertised_port = (endpoint.port != 0).then_some(endpoint.port);
    }
    Ok(built)
}
