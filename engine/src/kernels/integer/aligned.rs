//! Bytes that begin on a cache line, so that no vector load crosses one.

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Bytes of a cache line, and of the widest vector.
pub(crate) const LINE: usize = 64;

/// A fixed number of bytes, zero at first. Many of them lie in large pages where the system has these to give: a
/// stream through small ones stops at every page to ask where the next one is.
pub(crate) struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBytes {
    pub(crate) fn zeroed(len: usize) -> Self {
        let count = len.div_ceil(LINE);
        let mut lines = Vec::with_capacity(count);
        ask_for_large_pages(lines.spare_capacity_mut());
        lines.resize(count, Line([0; LINE]));
        Self { lines, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `lines` holds at least `len` initialized bytes without padding between them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably; every byte is a valid `u8`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Before the memory is touched. Changes nothing but speed.
#[cfg(target_os = "linux")]
fn ask_for_large_pages(lines: &mut [std::mem::MaybeUninit<Line>]) {
    const LARGE_PAGE: usize = 2 << 20;
    let range = lines.as_mut_ptr_range();
    let start = (range.start as usize).next_multiple_of(LARGE_PAGE);
    let end = range.end as usize / LARGE_PAGE * LARGE_PAGE;
    if start < end {
        // SAFETY: whole pages inside memory that is borrowed mutably; the advice leaves its contents as they are.
        let _ = unsafe { libc::madvise(start as *mut _, end - start, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages(_: &mut [std::mem::MaybeUninit<Line>]) {}

impl Clone for AlignedBytes {
    fn clone(&self) -> Self {
        let mut bytes = Self::zeroed(self.len);
        bytes.as_mut_slice().copy_from_slice(self.as_slice());
        bytes
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AlignedBytes({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_on_a_line_and_keep_what_is_written() {
        for len in [0, 1, 63, 64, 65, 1000, 5 << 20] {
            let mut bytes = AlignedBytes::zeroed(len);
            assert_eq!(bytes.as_slice(), vec![0; len]);
            bytes.as_mut_slice().fill(7);
            assert_eq!(bytes.clone().as_slice(), vec![7; len]);
            assert_eq!(bytes.as_slice().as_ptr() as usize % LINE, 0);
        }
    }
}
