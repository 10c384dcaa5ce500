//! The simulated network: listeners, connections, and what travels between their ends.
//! Owner: `World::net`. Each direction of a connection is an ordered byte stream with a bounded
//! buffer (bytes on the way and bytes arrived but unread); chunks, FIN and RST arrive as events.
//! Invariants: nothing arrives out of order; an end that is closed never reads again; a connection
//! leaves the table when both ends are closed.
//! One address space for all machines. Not here: the handles that programs hold (`net.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::process::ProcessId;
use super::world::World;

/// Connections that wait for an accept before more are refused.
const BACKLOG_MAX: usize = 4096;
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

#[derive(Default)]
pub(super) struct Net {
    listeners: BTreeMap<u64, ListenerState>,
    connections: BTreeMap<u64, Connection>,
    next_id: u64,
    next_port: u16,
}

struct ListenerState {
    addr: SocketAddr,
    owner: ProcessId,
    backlog: VecDeque<u64>,
    waker: Option<Waker>,
}

/// End 0 connected, end 1 accepted.
struct Connection {
    ends: [End; 2],
}

struct End {
    owner: ProcessId,
    addr: SocketAddr,
    arrived: VecDeque<u8>,
    /// Bytes on the way to this end.
    under_way: usize,
    /// When the last thing sent to this end arrives: nothing overtakes it.
    last_arrival: u64,
    fin: bool,
    reset: bool,
    /// Shut down by its own program.
    shut: bool,
    /// No handle is left, or its process is dead.
    closed: bool,
    /// The path to this end is cut: what is on the way never arrives.
    severed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn new(owner: ProcessId, addr: SocketAddr) -> End {
        End {
            owner,
            addr,
            arrived: VecDeque::new(),
            under_way: 0,
            last_arrival: 0,
            fin: false,
            reset: false,
            shut: false,
            closed: false,
            severed: false,
            reader: None,
            writer: None,
        }
    }

    fn wake_both(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

impl Net {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether a process other than `except` listens there.
    fn taken(&self, addr: SocketAddr, except: Option<ProcessId>) -> bool {
        self.listeners.values().any(|l| overlap(l.addr, addr) && Some(l.owner) != except)
    }

    fn ephemeral_port(&mut self) -> u16 {
        loop {
            self.next_port = self.next_port.checked_add(1).unwrap_or(0).max(FIRST_EPHEMERAL_PORT);
            let port = self.next_port;
            if !self.listeners.values().any(|l| l.addr.port() == port) {
                return port;
            }
        }
    }

    pub fn free_addr(&mut self, mut addr: SocketAddr) -> io::Result<SocketAddr> {
        if addr.port() == 0 {
            addr.set_port(self.ephemeral_port());
        } else if self.taken(addr, None) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        Ok(addr)
    }

    pub fn listen(
        &mut self,
        owner: ProcessId,
        mut addr: SocketAddr,
    ) -> io::Result<(u64, SocketAddr)> {
        if addr.port() == 0 {
            addr.set_port(self.ephemeral_port());
        } else if self.taken(addr, Some(owner)) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        let id = self.id();
        let listener = ListenerState { addr, owner, backlog: VecDeque::new(), waker: None };
        self.listeners.insert(id, listener);
        Ok((id, addr))
    }
}

fn latency_ns(world: &World) -> u64 {
    let net = world.knobs.borrow().net.clone();
    let mut ns = world.between_ns(&net.latency);
    if world.chance(net.stall_probability) {
        ns += world.between_ns(&net.stall);
    }
    ns
}

/// One way through the network, for a connection's handshake.
pub(super) fn one_way_ns(world: &World) -> u64 {
    latency_ns(world)
}

/// A SYN arrives at `addr`: the id of the new connection and the addresses of its two ends.
pub(super) fn open(world: &World, addr: SocketAddr) -> io::Result<(u64, SocketAddr, SocketAddr)> {
    let mut net = world.net.borrow_mut();
    let candidates: Vec<u64> = net
        .listeners
        .iter()
        .filter(|(_, l)| overlap(l.addr, addr) && l.backlog.len() < BACKLOG_MAX)
        .map(|(id, _)| *id)
        .collect();
    if candidates.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
    }
    let chosen = candidates[world.below(candidates.len())];
    let client = SocketAddr::new(addr.ip(), net.ephemeral_port());
    let id = net.id();
    let Some(listener) = net.listeners.get_mut(&chosen) else {
        return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
    };
    listener.backlog.push_back(id);
    if let Some(waker) = listener.waker.take() {
        waker.wake();
    }
    let server_owner = listener.owner;
    let ends = [End::new(world.current.get(), client), End::new(server_owner, addr)];
    net.connections.insert(id, Connection { ends });
    drop(net);
    world.trace("connect", id, u64::from(addr.port()));
    Ok((id, client, addr))
}

/// The next connection of a listener: its id, the local and the peer address.
pub(super) fn poll_accept(
    world: &World,
    listener: u64,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(u64, SocketAddr, SocketAddr)>> {
    let fails = world.knobs.borrow().net.accept_error_probability;
    let mut net = world.net.borrow_mut();
    let net = &mut *net;
    let Some(state) = net.listeners.get_mut(&listener) else {
        return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EBADF)));
    };
    if state.backlog.is_empty() {
        state.waker = Some(cx.waker().clone());
        return Poll::Pending;
    }
    if world.chance(fails) {
        return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EMFILE)));
    }
    while let Some(id) = state.backlog.pop_front() {
        if let Some(connection) = net.connections.get(&id) {
            world.trace("accept", id, listener);
            let [client, server] = &connection.ends;
            return Poll::Ready(Ok((id, server.addr, client.addr)));
        }
    }
    state.waker = Some(cx.waker().clone());
    Poll::Pending
}

pub(super) fn close_listener(world: &Rc<World>, listener: u64) {
    let state = world.net.borrow_mut().listeners.remove(&listener);
    for id in state.into_iter().flat_map(|s| s.backlog) {
        abort(world, id, 1);
    }
}

pub(super) fn poll_read(
    world: &World,
    id: u64,
    side: usize,
    buf: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let short = world.knobs.borrow().net.short_read_probability;
    let mut net = world.net.borrow_mut();
    let Some(connection) = net.connections.get_mut(&id) else {
        return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
    };
    let [me, peer] = connection.pair(side);
    if !me.arrived.is_empty() && !buf.is_empty() {
        let mut n = buf.len().min(me.arrived.len());
        if world.chance(short) {
            n = 1 + world.below(n);
        }
        let (head, tail) = me.arrived.as_slices();
        let from_head = n.min(head.len());
        buf[..from_head].copy_from_slice(&head[..from_head]);
        buf[from_head..n].copy_from_slice(&tail[..n - from_head]);
        me.arrived.drain(..n);
        if let Some(waker) = peer.writer.take() {
            waker.wake();
        }
        return Poll::Ready(Ok(n));
    }
    if me.reset {
        return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
    }
    if me.fin || me.shut || me.closed || buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    me.reader = Some(cx.waker().clone());
    Poll::Pending
}

/// Until a read would not wait.
pub(super) fn poll_readable(world: &World, id: u64, side: usize, cx: &mut Context<'_>) -> Poll<()> {
    let mut net = world.net.borrow_mut();
    let Some(connection) = net.connections.get_mut(&id) else { return Poll::Ready(()) };
    let [me, _] = connection.pair(side);
    if !me.arrived.is_empty() || me.reset || me.fin || me.shut || me.closed {
        return Poll::Ready(());
    }
    me.reader = Some(cx.waker().clone());
    Poll::Pending
}

/// Takes some bytes of `buf` into the stream, or waits for room.
pub(super) fn poll_write(
    world: &Rc<World>,
    id: u64,
    side: usize,
    buf: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let knobs = world.knobs.borrow().net.clone();
    let mut net = world.net.borrow_mut();
    let Some(connection) = net.connections.get_mut(&id) else {
        return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
    };
    let [me, peer] = connection.pair(side);
    if me.reset {
        return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
    }
    if me.shut || me.closed {
        return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EPIPE)));
    }
    let room = knobs.buffer_bytes.max(1).saturating_sub(peer.arrived.len() + peer.under_way);
    if room == 0 {
        me.writer = Some(cx.waker().clone());
        return Poll::Pending;
    }
    let mut n = buf.len().min(room).min(1 + world.below(knobs.chunk_bytes_max.max(1)));
    if world.chance(0.02) {
        // A few bytes only: splits every kind of header sooner or later.
        n = n.min(1 + world.below(16));
    }
    let chunk = buf[..n].to_vec();
    world.trace("send", id * 2 + side as u64, u64::from(crc32c::crc32c(&chunk)));
    peer.under_way += n;
    let transfer_ns =
        knobs.bandwidth_bytes_per_s.map_or(0, |b| n as u64 * 1_000_000_000 / b.max(1));
    let at = (world.now.get() + latency_ns(world)).max(peer.last_arrival) + transfer_ns;
    peer.last_arrival = at;
    drop(net);
    world.schedule(at, move |w| deliver(w, id, 1 - side, chunk));
    if world.chance(knobs.cut_probability) {
        cut(world, id);
    }
    Poll::Ready(Ok(n))
}

fn deliver(world: &Rc<World>, id: u64, side: usize, chunk: Vec<u8>) {
    let mut net = world.net.borrow_mut();
    let Some(connection) = net.connections.get_mut(&id) else { return };
    let [me, peer] = connection.pair(side);
    me.under_way -= chunk.len();
    if me.severed || me.reset {
        return;
    }
    if me.closed || me.shut {
        // Nobody will read this: the kernel answers with RST.
        if let Some(waker) = peer.writer.take() {
            waker.wake();
        }
        drop(net);
        send_reset(world, id, 1 - side);
        return;
    }
    world.trace("arrive", id * 2 + side as u64, chunk.len() as u64);
    me.arrived.extend(chunk);
    if let Some(waker) = me.reader.take() {
        waker.wake();
    }
}

/// Sends RST to `side`; it arrives after what was sent to it before.
fn send_reset(world: &World, id: u64, side: usize) {
    let Some(at) = arrival(world, id, side) else { return };
    world.schedule(at, move |w| {
        let mut net = w.net.borrow_mut();
        let Some(end) = net.connections.get_mut(&id).map(|c| &mut c.ends[side]) else { return };
        if end.reset {
            return;
        }
        w.trace("reset arrives", id, side as u64);
        end.reset = true;
        if w.coin() {
            end.arrived.clear();
        }
        end.wake_both();
    });
}

fn send_fin(world: &World, id: u64, side: usize) {
    let Some(at) = arrival(world, id, side) else { return };
    world.schedule(at, move |w| {
        let mut net = w.net.borrow_mut();
        let Some(end) = net.connections.get_mut(&id).map(|c| &mut c.ends[side]) else { return };
        if end.severed {
            return;
        }
        w.trace("fin arrives", id, side as u64);
        end.fin = true;
        if let Some(waker) = end.reader.take() {
            waker.wake();
        }
    });
}

fn arrival(world: &World, id: u64, side: usize) -> Option<u64> {
    let latency_ns = latency_ns(world);
    let mut net = world.net.borrow_mut();
    let end = &mut net.connections.get_mut(&id)?.ends[side];
    end.last_arrival = (world.now.get() + latency_ns).max(end.last_arrival);
    Some(end.last_arrival)
}

/// Both directions; pending reads and writes of this end wake.
pub(super) fn shutdown(world: &World, id: u64, side: usize) {
    {
        let mut net = world.net.borrow_mut();
        let Some(end) = net.connections.get_mut(&id).map(|c| &mut c.ends[side]) else { return };
        if end.shut || end.closed {
            return;
        }
        end.shut = true;
        end.wake_both();
    }
    world.trace("shutdown", id, side as u64);
    send_fin(world, id, 1 - side);
}

/// The last handle of this end is gone: FIN, or RST when bytes were left unread (as Linux does).
pub(super) fn close(world: &World, id: u64, side: usize) {
    let (unread, shut) = {
        let mut net = world.net.borrow_mut();
        let Some(end) = net.connections.get_mut(&id).map(|c| &mut c.ends[side]) else { return };
        if std::mem::replace(&mut end.closed, true) {
            return;
        }
        (!end.arrived.is_empty(), end.shut)
    };
    world.trace("close", id, side as u64);
    if unread {
        send_reset(world, id, 1 - side);
    } else if !shut {
        send_fin(world, id, 1 - side);
    }
    forget_if_closed(world, id);
}

/// The process of this end died: the peer sees a reset; what was on the way may be lost.
fn abort(world: &World, id: u64, side: usize) {
    {
        let mut net = world.net.borrow_mut();
        let Some(connection) = net.connections.get_mut(&id) else { return };
        let [me, peer] = connection.pair(side);
        if std::mem::replace(&mut me.closed, true) {
            return;
        }
        if world.coin() {
            peer.severed = true;
        }
    }
    world.trace("abort", id, side as u64);
    send_reset(world, id, 1 - side);
    forget_if_closed(world, id);
}

fn forget_if_closed(world: &World, id: u64) {
    let mut net = world.net.borrow_mut();
    if net.connections.get(&id).is_some_and(|c| c.ends.iter().all(|e| e.closed)) {
        net.connections.remove(&id);
    }
}

fn cut(world: &World, id: u64) {
    {
        let mut net = world.net.borrow_mut();
        let Some(connection) = net.connections.get_mut(&id) else { return };
        if connection.ends.iter().any(|e| e.severed) {
            return;
        }
        connection.ends.iter_mut().for_each(|e| {
            e.severed = true;
            e.last_arrival = 0;
        });
    }
    world.trace("cut", id, 0);
    send_reset(world, id, 0);
    send_reset(world, id, 1);
}

pub(super) fn cut_all(world: &World) {
    let ids: Vec<u64> = world.net.borrow().connections.keys().copied().collect();
    for id in ids {
        cut(world, id);
    }
}

pub(super) fn kill_process(world: &Rc<World>, pid: ProcessId) {
    let (listeners, ends) = {
        let net = world.net.borrow();
        let listeners: Vec<u64> =
            net.listeners.iter().filter(|(_, l)| l.owner == pid).map(|(id, _)| *id).collect();
        let ends: Vec<(u64, usize)> = net
            .connections
            .iter()
            .flat_map(|(id, c)| c.ends.iter().enumerate().map(move |(side, e)| (*id, side, e)))
            .filter(|(_, _, e)| e.owner == pid)
            .map(|(id, side, _)| (id, side))
            .collect();
        (listeners, ends)
    };
    for id in listeners {
        close_listener(world, id);
    }
    for (id, side) in ends {
        abort(world, id, side);
    }
}

impl Connection {
    /// This side's end, then the peer's.
    fn pair(&mut self, side: usize) -> [&mut End; 2] {
        let [a, b] = &mut self.ends;
        if side == 0 { [a, b] } else { [b, a] }
    }
}
