//! The bytes of one simulated file: blocks that programs see, blocks that are durable, and every
//! version between the two. Owner: `Volume`, which numbers the changes.
//! Invariants: see `volume.rs`. Blocks are shared (Rc) between the versions, never changed in place.

use std::ops::Range;
use std::rc::Rc;

use super::volume::{BLOCK, Block, Content};

impl Content {
    pub fn write(&mut self, sequence: u64, pos: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = pos + done as u64;
            let (index, offset) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let n = (BLOCK - offset).min(bytes.len() - done);
            let mut block = self.live.get(&index).map_or([0; BLOCK], |b| **b);
            block[offset..offset + n].copy_from_slice(&bytes[done..done + n]);
            self.put(sequence, index, Some(Rc::new(block)));
            done += n;
        }
        let end = pos + bytes.len() as u64;
        if end > self.len {
            self.len = end;
            self.dirty_len.push((sequence, end));
        }
    }

    fn put(&mut self, sequence: u64, index: u64, block: Option<Block>) {
        match &block {
            Some(block) => self.live.insert(index, block.clone()),
            None => self.live.remove(&index),
        };
        self.dirty.entry(index).or_default().push((sequence, block));
    }

    /// Grows with zeros or cuts.
    pub fn set_len(&mut self, sequence: u64, len: u64) {
        if len == self.len {
            return;
        }
        if len < self.len {
            let whole = len.div_ceil(BLOCK as u64);
            let gone: Vec<u64> = self.live.range(whole..).map(|(i, _)| *i).collect();
            for index in gone {
                self.put(sequence, index, None);
            }
            let (last, keep) = (len / BLOCK as u64, (len % BLOCK as u64) as usize);
            if keep > 0
                && let Some(block) = self.live.get(&last)
            {
                let mut block = **block;
                block[keep..].fill(0);
                self.put(sequence, last, Some(Rc::new(block)));
            }
        }
        self.len = len;
        self.dirty_len.push((sequence, len));
    }

    /// Shorter only at the end of the file.
    pub fn read(&self, pos: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(pos.saturating_add(len as u64));
        let mut bytes = vec![0; end.saturating_sub(pos) as usize];
        let mut done = 0;
        while done < bytes.len() {
            let at = pos + done as u64;
            let (index, offset) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let n = (BLOCK - offset).min(bytes.len() - done);
            if let Some(block) = self.live.get(&index) {
                bytes[done..done + n].copy_from_slice(&block[offset..offset + n]);
            }
            done += n;
        }
        bytes
    }

    /// Makes durable every change of these blocks up to `sequence`, and the length.
    pub fn sync(&mut self, sequence: u64, blocks: &Range<u64>) {
        let durable = &mut self.durable;
        self.dirty.retain(|index, versions| {
            if !blocks.contains(index) {
                return true;
            }
            let covered = versions.iter().take_while(|(s, _)| *s <= sequence).count();
            if let Some((_, block)) = versions.drain(..covered).next_back() {
                match block {
                    Some(block) => durable.insert(*index, block),
                    None => durable.remove(index),
                };
            }
            !versions.is_empty()
        });
        let covered = self.dirty_len.iter().take_while(|(s, _)| *s <= sequence).count();
        if let Some((_, len)) = self.dirty_len.drain(..covered).next_back() {
            self.durable_len = len;
        }
    }

    /// A failed sync: the kernel marks the pages clean, and no later sync writes them. The length
    /// is the journal's, which does not forget: it stops the file system when it can't be written.
    pub fn forget_dirty(&mut self, sequence: u64, blocks: &Range<u64>) {
        self.dirty.retain(|index, versions| {
            versions.retain(|(s, _)| *s > sequence || !blocks.contains(index));
            !versions.is_empty()
        });
    }

    /// Turns bits over in what programs see and in what is durable.
    pub fn flip_bits(&mut self, position: u64, mask: u8) {
        let (index, at) = (position / BLOCK as u64, (position % BLOCK as u64) as usize);
        for blocks in [&mut self.live, &mut self.durable] {
            if let Some(block) = blocks.get_mut(&index) {
                Rc::make_mut(block)[at] ^= mask;
            }
        }
    }
}
