//! Asks for memory before it is needed. Changes no result.

/// Bytes ahead of a stream at which its memory is asked for: what arrives while a core works through 4 KiB.
pub(super) const AHEAD: usize = 4096;

/// Asks for the cache line that lies `bytes` behind the first of `values`; may lie anywhere, even outside.
#[inline(always)]
pub(super) fn prefetch<T>(values: &[T], bytes: usize) {
    let address = values.as_ptr().cast::<u8>().wrapping_add(bytes);
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing: an address that is not there is passed over.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
