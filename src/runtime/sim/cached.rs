//! The page cache of the simulator's files: what was read through it once is resident until the power of
//! its machine is cut. A handle may cross shards, as on the real backend: it is a key. The file that it
//! stands for (not Send) lies in a registry of the thread, on which all shards of a simulation run.
//! Invariant: a file is in the registry as long as there is a handle to it. Not here: what is checked and sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::File;
use super::page_cache;

#[derive(Clone)]
pub struct CachedFile(Arc<Key>);

struct Key(u64);

struct Open {
    file: File,
    /// What was read: where, in which page cache, and the bytes as they were then.
    resident: RefCell<Vec<Resident>>,
}

struct Resident {
    position: u64,
    cache: u64,
    bytes: Vec<u8>,
}

thread_local! {
    static OPEN: RefCell<BTreeMap<u64, Rc<Open>>> = const { RefCell::new(BTreeMap::new()) };
}

impl Drop for Key {
    fn drop(&mut self) {
        // The file's own end comes after the borrow; at the end of the thread there is no registry.
        let _last = OPEN.try_with(|open| open.borrow_mut().remove(&self.0));
    }
}

impl CachedFile {
    pub fn beside(file: &File) -> CachedFile {
        // Of all threads: a handle that strayed to another simulation's finds no file there.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let opened = Open { file: file.clone(), resident: RefCell::default() };
        OPEN.with_borrow_mut(|open| open.insert(key, Rc::new(opened)));
        CachedFile(Arc::new(Key(key)))
    }

    fn open(&self) -> Rc<Open> {
        let open = OPEN.with_borrow(|open| open.get(&self.0.0).cloned());
        open.expect("a handle is used on the thread of its simulation")
    }

    /// The bytes, if they are resident.
    pub fn now(&self, position: u64, length: usize) -> Option<Vec<u8>> {
        let open = self.open();
        let cache = page_cache();
        open.resident.borrow_mut().retain(|r| r.cache == cache);
        open.resident.borrow().iter().find_map(|r| {
            let from = usize::try_from(position.checked_sub(r.position)?).ok()?;
            r.bytes.get(from..from + length).map(<[u8]>::to_vec)
        })
    }

    pub async fn read_at(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.now(position, length) {
            return Ok(bytes);
        }
        let cache = page_cache();
        let open = self.open();
        let bytes = open.file.read_at(position, length).await?;
        open.resident.borrow_mut().push(Resident { position, cache, bytes: bytes.clone() });
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::runtime::disk::{BLOCK, OpenMode};
    use crate::runtime::sim::{Simulation, empty_page_cache};

    #[test]
    fn a_file_is_kept_as_long_as_a_handle_to_it() {
        Simulation::new(1).run(async {
            let kept = || OPEN.with_borrow(BTreeMap::len);
            let file = File::open(Path::new("/f"), OpenMode::Create).await.unwrap();
            file.write_at(&[7; BLOCK], 0).await.unwrap();
            let first = CachedFile::beside(&file);
            let (second, other) = (first.clone(), CachedFile::beside(&file));
            drop(file);
            assert_eq!((kept(), first.now(0, 10)), (2, None));
            assert_eq!(first.read_at(0, 100).await.unwrap(), [7; 100]);
            drop((first, other));
            assert_eq!((kept(), second.now(10, 90)), (1, Some(vec![7; 90])));
            assert_eq!(second.now(10, 91), None, "that much was not read");
            empty_page_cache();
            assert_eq!(second.now(0, 10), None);
            drop(second);
            assert_eq!(kept(), 0);
        });
    }
}
