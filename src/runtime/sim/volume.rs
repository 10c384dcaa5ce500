//! One machine's disk: inodes, directories, what the cache holds and what is durable.
//! Owner: `World`, one volume a machine. Every un-synced change is kept as a version beside the
//! durable state, so that a power cut can choose among them (`volume_crash.rs`).
//! Invariants: `live` is what programs see; `durable` changes only by a sync or a power cut; a
//! block that is absent reads as zeros; no byte past a file's length is anything but zero.
//! No hard links, permissions or symbolic links. Not here: time and faults (`disk.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Component, Path};
use std::rc::Rc;

use super::process::ProcessId;
use crate::runtime::disk::DirEntry;

pub(super) const BLOCK: usize = crate::runtime::disk::BLOCK;
pub(super) const ROOT_DIR: u64 = 1;

pub(super) type Block = Rc<[u8; BLOCK]>;
pub(super) type Name = (u64, String);

pub(super) struct Volume {
    pub inodes: BTreeMap<u64, Inode>,
    /// Directory changes that no sync has covered, in order, numbered by `sequence`.
    pub pending: Vec<(u64, DirOp)>,
    pub in_flight: BTreeMap<u64, InFlight>,
    locks: BTreeMap<u64, Lock>,
    next_id: u64,
    /// Counts changes: a sync covers those up to its own start.
    pub sequence: u64,
}

pub(super) struct Inode {
    pub node: Node,
    pub open_count: u32,
}

pub(super) enum Node {
    File(Content),
    Dir(Dir),
}

#[derive(Default)]
pub(super) struct Dir {
    pub live: BTreeMap<String, u64>,
    pub durable: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(super) struct Content {
    pub len: u64,
    pub live: BTreeMap<u64, Block>,
    pub durable_len: u64,
    pub durable: BTreeMap<u64, Block>,
    /// Versions of a block since it was last durable, oldest first. `None` is a hole.
    pub dirty: BTreeMap<u64, Vec<(u64, Option<Block>)>>,
    pub dirty_len: Vec<(u64, u64)>,
}

/// A change of directories. A rename is one change: it happens or it does not.
#[derive(Clone)]
pub(super) enum DirOp {
    Add { at: Name, inode: u64 },
    Remove { at: Name, inode: u64 },
    Rename { from: Name, to: Name, inode: u64 },
}

/// What the device has been asked for and has not answered.
pub(super) enum InFlight {
    Write { owner: ProcessId, inode: u64, pos: u64, bytes: Vec<u8> },
    Sync { owner: ProcessId, inode: u64, sequence: u64, blocks: Range<u64> },
    SyncDir { owner: ProcessId, dir: u64, sequence: u64 },
    SyncAll { owner: ProcessId, sequence: u64 },
}

struct Lock {
    owner: ProcessId,
    dir: u64,
}

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Default for Volume {
    fn default() -> Volume {
        let root = Inode { node: Node::Dir(Dir::default()), open_count: 0 };
        Volume {
            inodes: BTreeMap::from([(ROOT_DIR, root)]),
            pending: Vec::new(),
            in_flight: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_id: ROOT_DIR,
            sequence: 0,
        }
    }
}

impl Volume {
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn dir(&self, inode: u64) -> io::Result<&Dir> {
        match self.inodes.get(&inode) {
            Some(Inode { node: Node::Dir(dir), .. }) => Ok(dir),
            Some(_) => Err(os_error(libc::ENOTDIR)),
            None => Err(os_error(libc::ENOENT)),
        }
    }

    pub fn dir_mut(&mut self, inode: u64) -> io::Result<&mut Dir> {
        match self.inodes.get_mut(&inode) {
            Some(Inode { node: Node::Dir(dir), .. }) => Ok(dir),
            Some(_) => Err(os_error(libc::ENOTDIR)),
            None => Err(os_error(libc::ENOENT)),
        }
    }

    pub fn content(&self, inode: u64) -> io::Result<&Content> {
        match self.inodes.get(&inode) {
            Some(Inode { node: Node::File(content), .. }) => Ok(content),
            Some(_) => Err(os_error(libc::EISDIR)),
            None => Err(os_error(libc::EBADF)),
        }
    }

    pub fn content_mut(&mut self, inode: u64) -> io::Result<&mut Content> {
        match self.inodes.get_mut(&inode) {
            Some(Inode { node: Node::File(content), .. }) => Ok(content),
            Some(_) => Err(os_error(libc::EISDIR)),
            None => Err(os_error(libc::EBADF)),
        }
    }

    pub fn lookup(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT_DIR;
        for name in names(path) {
            at = *self.dir(at)?.live.get(&name).ok_or_else(|| os_error(libc::ENOENT))?;
        }
        Ok(at)
    }

    fn lookup_parent(&self, path: &Path) -> io::Result<Name> {
        let mut names = names(path);
        let last = names.pop().ok_or_else(|| os_error(libc::EINVAL))?;
        let mut at = ROOT_DIR;
        for name in names {
            at = *self.dir(at)?.live.get(&name).ok_or_else(|| os_error(libc::ENOENT))?;
        }
        self.dir(at)?;
        Ok((at, last))
    }

    fn change_dirs(&mut self, op: DirOp) {
        self.sequence += 1;
        self.pending.push((self.sequence, op));
    }

    fn add(&mut self, at: Name, node: Node) -> io::Result<u64> {
        let inode = self.id();
        self.dir_mut(at.0)?.live.insert(at.1.clone(), inode);
        self.inodes.insert(inode, Inode { node, open_count: 0 });
        self.change_dirs(DirOp::Add { at, inode });
        Ok(inode)
    }

    pub fn open(&mut self, path: &Path, create: bool, full: bool) -> io::Result<u64> {
        let at = self.lookup_parent(path)?;
        let inode = match self.dir(at.0)?.live.get(&at.1) {
            Some(inode) => *inode,
            None if !create => return Err(os_error(libc::ENOENT)),
            None if full => return Err(os_error(libc::ENOSPC)),
            None => self.add(at, Node::File(Content::default()))?,
        };
        self.content(inode)?;
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.open_count += 1;
        }
        Ok(inode)
    }

    pub fn close(&mut self, inode: u64) {
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.open_count = inode.open_count.saturating_sub(1);
        }
    }

    /// Whether it had to be made.
    pub fn make_dir(&mut self, path: &Path, full: bool) -> io::Result<bool> {
        let at = self.lookup_parent(path)?;
        if let Some(inode) = self.dir(at.0)?.live.get(&at.1) {
            self.dir(*inode)?;
            return Ok(false);
        }
        if full {
            return Err(os_error(libc::ENOSPC));
        }
        self.add(at, Node::Dir(Dir::default()))?;
        Ok(true)
    }

    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let at = self.lookup_parent(path)?;
        let inode = *self.dir(at.0)?.live.get(&at.1).ok_or_else(|| os_error(libc::ENOENT))?;
        self.content(inode)?;
        self.remove(at, inode)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let at = self.lookup_parent(path)?;
        let inode = *self.dir(at.0)?.live.get(&at.1).ok_or_else(|| os_error(libc::ENOENT))?;
        if !self.dir(inode)?.live.is_empty() {
            return Err(os_error(libc::ENOTEMPTY));
        }
        self.remove(at, inode)
    }

    fn remove(&mut self, at: Name, inode: u64) -> io::Result<()> {
        self.dir_mut(at.0)?.live.remove(&at.1);
        self.change_dirs(DirOp::Remove { at, inode });
        Ok(())
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.lookup_parent(from)?, self.lookup_parent(to)?);
        let inode = *self.dir(from.0)?.live.get(&from.1).ok_or_else(|| os_error(libc::ENOENT))?;
        if from == to {
            return Ok(());
        }
        let moves_dir = self.dir(inode).is_ok();
        if let Some(target) = self.dir(to.0)?.live.get(&to.1) {
            match self.dir(*target) {
                Ok(dir) if moves_dir && !dir.live.is_empty() => {
                    return Err(os_error(libc::ENOTEMPTY));
                }
                Ok(_) if !moves_dir => return Err(os_error(libc::EISDIR)),
                Err(_) if moves_dir => return Err(os_error(libc::ENOTDIR)),
                _ => {}
            }
        }
        self.dir_mut(from.0)?.live.remove(&from.1);
        self.dir_mut(to.0)?.live.insert(to.1.clone(), inode);
        self.change_dirs(DirOp::Rename { from, to, inode });
        Ok(())
    }

    pub fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(self.lookup(path)?)?;
        let entries = dir.live.iter().map(|(name, inode)| {
            let len = self.content(*inode).map(|c| c.len);
            DirEntry { name: name.clone(), is_dir: len.is_err(), len: len.unwrap_or(0) }
        });
        Ok(entries.collect())
    }

    /// Makes durable what the pending changes up to `sequence` did to `dir`, and whatever earlier
    /// change of the same names they build on.
    pub fn commit_dir(&mut self, dir: u64, sequence: u64) {
        let mut needed: BTreeSet<Name> = BTreeSet::new();
        let mut commits = vec![false; self.pending.len()];
        for (i, (at, op)) in self.pending.iter().enumerate().rev() {
            if *at <= sequence && op.names().any(|n| n.0 == dir || needed.contains(n)) {
                commits[i] = true;
                needed.extend(op.names().cloned());
            }
        }
        let pending = std::mem::take(&mut self.pending);
        for (op, commit) in pending.into_iter().zip(commits) {
            if commit {
                self.apply_durable(&op.1);
            } else {
                self.pending.push(op);
            }
        }
        self.drop_unreachable();
    }

    pub fn apply_durable(&mut self, op: &DirOp) {
        match op {
            DirOp::Add { at, inode } => self.link_durable(at, *inode),
            DirOp::Remove { at, inode } => {
                if let Ok(dir) = self.dir_mut(at.0)
                    && dir.durable.get(&at.1) == Some(inode)
                {
                    dir.durable.remove(&at.1);
                }
            }
            DirOp::Rename { to, inode, .. } => {
                // An inode has one name: also when the change that gave it `from` was lost.
                for node in self.inodes.values_mut() {
                    if let Node::Dir(dir) = &mut node.node {
                        dir.durable.retain(|_, i| i != inode);
                    }
                }
                self.link_durable(to, *inode);
            }
        }
    }

    fn link_durable(&mut self, at: &Name, inode: u64) {
        if let Ok(dir) = self.dir_mut(at.0) {
            dir.durable.insert(at.1.clone(), inode);
        }
    }

    /// Forgets inodes that no name, open file or un-synced change can reach.
    pub fn drop_unreachable(&mut self) {
        let mut reachable: BTreeSet<u64> = BTreeSet::new();
        let mut todo: Vec<u64> = vec![ROOT_DIR];
        todo.extend(self.inodes.iter().filter(|(_, i)| i.open_count > 0).map(|(id, _)| *id));
        todo.extend(self.pending.iter().map(|(_, op)| op.inode()));
        todo.extend(self.pending.iter().flat_map(|(_, op)| op.names()).map(|n| n.0));
        while let Some(inode) = todo.pop() {
            if !reachable.insert(inode) {
                continue;
            }
            if let Ok(dir) = self.dir(inode) {
                todo.extend(dir.live.values().chain(dir.durable.values()));
            }
        }
        self.inodes.retain(|id, _| reachable.contains(id));
    }

    /// The id of the new lock; `None` when somebody holds one on this directory.
    pub fn lock(&mut self, owner: ProcessId, dir: u64) -> Option<u64> {
        if self.locks.values().any(|l| l.dir == dir) {
            return None;
        }
        let id = self.id();
        self.locks.insert(id, Lock { owner, dir });
        Some(id)
    }

    pub fn unlock(&mut self, id: u64) {
        self.locks.remove(&id);
    }

    pub fn unlock_all_of(&mut self, owner: ProcessId) {
        self.locks.retain(|_, l| l.owner != owner);
    }

    pub fn write(&mut self, inode: u64, pos: u64, bytes: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let sequence = self.sequence;
        self.content_mut(inode)?.write(sequence, pos, bytes);
        Ok(())
    }

    pub fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        self.sequence += 1;
        let sequence = self.sequence;
        self.content_mut(inode)?.set_len(sequence, len);
        Ok(())
    }
}

impl DirOp {
    pub fn inode(&self) -> u64 {
        match self {
            DirOp::Add { inode, .. }
            | DirOp::Remove { inode, .. }
            | DirOp::Rename { inode, .. } => *inode,
        }
    }

    fn names(&self) -> impl Iterator<Item = &Name> {
        match self {
            DirOp::Add { at, .. } | DirOp::Remove { at, .. } => [Some(at), None],
            DirOp::Rename { from, to, .. } => [Some(from), Some(to)],
        }
        .into_iter()
        .flatten()
    }
}

/// The names from the root; `.` and `..` are resolved, a relative path starts at the root.
fn names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(names.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    names
}
