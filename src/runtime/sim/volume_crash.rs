//! What a kill and a power cut leave on a volume: the choices, all drawn from the seed.
//! A kill decides only about operations in flight. A power cut decides, for every file, which
//! version of each un-synced 512-byte sector and of the length survives, and which un-synced
//! directory changes do. Each decision has four moods (nothing, everything, coarse, fine), because
//! a fair coin per sector would almost never keep or lose all of a large write.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::process::ProcessId;
use super::volume::{BLOCK, Block, Content, InFlight, Node, Volume};
use super::world::World;

/// What a device writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Which of a number of pieces in order survive: none, all, a prefix, or any subset.
struct Survivors {
    mood: usize,
    prefix: usize,
}

impl Survivors {
    fn choose(world: &World, pieces: usize) -> Survivors {
        Survivors { mood: world.below(4), prefix: world.below(pieces + 1) }
    }

    fn keep(&self, world: &World, piece: usize) -> bool {
        match self.mood {
            0 => false,
            1 => true,
            2 => piece < self.prefix,
            _ => world.coin(),
        }
    }
}

impl Volume {
    /// In-flight operations of a dead process happen wholly, partly or not.
    pub fn kill_process(&mut self, world: &World, owner: ProcessId) {
        let ids: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|(_, op)| op.owner() == owner)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            match self.in_flight.remove(&id) {
                Some(InFlight::Write { inode, pos, bytes, .. }) => {
                    self.write_torn(world, inode, pos, &bytes);
                }
                Some(InFlight::Sync { inode, sequence, blocks, .. }) if world.coin() => {
                    if let Ok(content) = self.content_mut(inode) {
                        content.sync(sequence, &blocks);
                    }
                }
                Some(InFlight::SyncDir { dir, sequence, .. }) if world.coin() => {
                    self.commit_dir(dir, sequence);
                }
                Some(InFlight::SyncAll { sequence, .. }) => self.sync_some(world, sequence),
                _ => {}
            }
        }
        self.unlock_all_of(owner);
    }

    /// A sync of the whole file system.
    pub fn sync_all(&mut self, sequence: u64) {
        self.sync_those(sequence, || true);
    }

    /// One that failed, or was under way when its caller died.
    pub fn sync_some(&mut self, world: &World, sequence: u64) {
        self.sync_those(sequence, || world.coin());
    }

    fn sync_those(&mut self, sequence: u64, mut takes: impl FnMut() -> bool) {
        let mut dirs = Vec::new();
        for (id, inode) in &mut self.inodes {
            match &mut inode.node {
                Node::File(content) if takes() => content.sync(sequence, &(0..u64::MAX)),
                Node::Dir(_) if takes() => dirs.push(*id),
                _ => {}
            }
        }
        for dir in dirs {
            self.commit_dir(dir, sequence);
        }
    }

    /// Some subset of the sectors of a write reaches the file.
    pub fn write_torn(&mut self, world: &World, inode: u64, pos: u64, bytes: &[u8]) {
        let survivors = Survivors::choose(world, bytes.len().div_ceil(SECTOR));
        world.trace("torn write", inode, survivors.mood as u64);
        for (i, sector) in bytes.chunks(SECTOR).enumerate() {
            if survivors.keep(world, i) {
                // The inode is gone when the file was unlinked and closed: nothing to tear.
                let _ = self.write(inode, pos + (i * SECTOR) as u64, sector);
            }
        }
    }

    pub fn power_cut(&mut self, world: &World) {
        self.in_flight.clear();
        self.crash_dirs(world);
        for (id, inode) in &mut self.inodes {
            if let Node::File(content) = &mut inode.node
                && content.is_dirty()
            {
                let mood = world.below(4);
                world.trace("power cut file", *id, mood as u64);
                content.crash(world, mood);
            }
        }
        self.drop_unreachable();
    }

    fn crash_dirs(&mut self, world: &World) {
        let pending = std::mem::take(&mut self.pending);
        let survivors = Survivors::choose(world, pending.len());
        world.trace("power cut directories", pending.len() as u64, survivors.mood as u64);
        for (i, (_, op)) in pending.iter().enumerate() {
            if survivors.keep(world, i) {
                self.apply_durable(op);
            }
        }
        for inode in self.inodes.values_mut() {
            if let Node::Dir(dir) = &mut inode.node {
                dir.live = dir.durable.clone();
            }
        }
    }
}

impl InFlight {
    fn owner(&self) -> ProcessId {
        match self {
            InFlight::Write { owner, .. }
            | InFlight::Sync { owner, .. }
            | InFlight::SyncDir { owner, .. }
            | InFlight::SyncAll { owner, .. } => *owner,
        }
    }
}

impl Content {
    fn is_dirty(&self) -> bool {
        // Also after a failed sync, when versions were forgotten: the cache is gone in any case.
        !self.dirty.is_empty()
            || !self.dirty_len.is_empty()
            || self.len != self.durable_len
            || self.live.len() != self.durable.len()
            || self.live.iter().any(|(i, b)| self.durable.get(i).is_none_or(|d| !Rc::ptr_eq(b, d)))
    }

    fn crash(&mut self, world: &World, mood: usize) {
        let mut after: BTreeMap<u64, Block> = std::mem::take(&mut self.durable);
        for (index, versions) in std::mem::take(&mut self.dirty) {
            let old = after.remove(&index);
            let mut choices: Vec<Option<Block>> = vec![old];
            choices.extend(versions.into_iter().map(|(_, block)| block));
            let chosen = match mood {
                0 => choices.swap_remove(0),
                1 => choices.pop().flatten(),
                2 => choices.swap_remove(world.below(choices.len())),
                _ => Some(mix_sectors(world, &choices)),
            };
            if let Some(block) = chosen {
                after.insert(index, block);
            }
        }
        let lens: Vec<u64> = std::iter::once(self.durable_len)
            .chain(std::mem::take(&mut self.dirty_len).into_iter().map(|(_, len)| len))
            .collect();
        let len = match mood {
            0 => lens[0],
            1 => lens[lens.len() - 1],
            _ => lens[world.below(lens.len())],
        };
        after.retain(|index, _| index * (BLOCK as u64) < len);
        let keep = (len % BLOCK as u64) as usize;
        if keep > 0
            && let Some(block) = after.get_mut(&(len / BLOCK as u64))
        {
            Rc::make_mut(block)[keep..].fill(0);
        }
        (self.len, self.durable_len) = (len, len);
        self.live = after.clone();
        self.durable = after;
    }
}

/// Each sector from any of the versions, on its own.
fn mix_sectors(world: &World, choices: &[Option<Block>]) -> Block {
    let mut mixed = [0; BLOCK];
    for at in (0..BLOCK).step_by(SECTOR) {
        if let Some(block) = &choices[world.below(choices.len())] {
            mixed[at..at + SECTOR].copy_from_slice(&block[at..at + SECTOR]);
        }
    }
    Rc::new(mixed)
}
