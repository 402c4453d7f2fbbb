//! A request's body that is read before the site is asked, and the memory that all such bodies of the process take.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::config::Terms;

/// Bytes of all buffers, those that the site has not taken yet among them.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Bytes that bodies of requests take at the moment.
pub(crate) fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// What has come of one body. Copied, because a piece of a connection's buffer would keep all of it.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// How much of [`IN_USE`] is this one's: what `bytes` has allocated, at least.
    counted: usize,
}

impl Buffer {
    /// Adds a piece, if the terms have room for it and there is memory.
    pub(super) fn push(&mut self, piece: &[u8], terms: &Terms) -> bool {
        let length = self.bytes.len().saturating_add(piece.len());
        if length > terms.buffer_requests {
            return false;
        }
        if length > self.counted {
            // By doubling, so that a byte at a time costs no more than all at once.
            let room = length.max(self.counted * 2).min(terms.buffer_requests);
            if !reserve(room - self.counted, terms.buffer_memory) {
                return false;
            }
            self.counted = room;
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        true
    }
}

/// It counts until the last of it was written to the site.
impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        Self::from_owner(buffer)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        IN_USE.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Whether there are so many bytes more, of so many in all.
fn reserve(bytes: usize, in_all: usize) -> bool {
    let with_it = |used: usize| used.checked_add(bytes).filter(|used| *used <= in_all);
    IN_USE
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One test, for the count is the process's.
    #[test]
    fn what_is_kept_is_counted_and_bounded() {
        let terms = Terms {
            response_timeout: Duration::MAX,
            max_body: 0,
            body_timeout: Duration::MAX,
            min_body_rate: 0,
            buffer_requests: 1000,
            buffer_memory: 1500,
        };
        let mut slow = Buffer::default();
        for _ in 0..1000 {
            assert!(slow.push(b"x", &terms));
            assert!(slow.bytes.capacity() <= slow.counted && slow.counted <= 1000);
        }
        assert!(!slow.push(b"x", &terms), "as much as may be");
        let mut other = Buffer::default();
        assert!(other.push(&[0; 400], &terms));
        assert!(!other.push(&[0; 400], &terms), "all memory is in use");
        assert_eq!((other.bytes.len(), in_use()), (400, 1400));
        let bytes = Bytes::from(slow);
        let rest = bytes.slice(999..);
        drop(bytes);
        assert!(!other.push(&[0; 400], &terms), "a piece keeps all of it");
        drop(rest);
        assert!(other.push(&[0; 400], &terms));
        drop(other);
        assert_eq!(in_use(), 0);
    }
}
