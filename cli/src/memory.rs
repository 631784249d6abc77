//! How a share node keeps its memory: freed pages stay with the process.
//!
//! Tensors of megabytes come and go in every round. With the C library's defaults each is mapped and unmapped anew, and
//! the kernel's clearing of fresh pages costs as much as the arithmetic (a fifth of the CPU time of an inference).
#![allow(unsafe_code)]

/// Serves large allocations from one heap and never returns pages to the system. Call it before the first thread.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator; it has no preconditions.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
