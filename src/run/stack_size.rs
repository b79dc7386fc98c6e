//! The sizes of stacks: the default, the smallest, how much of a stack has been used, and how much memory stays after
//! a run.

use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::kernel::coroutine;
use crate::kernel::edge::mapping::page_size;
use crate::kernel::edge::pool::Pools;

/// The usable bytes of a stack when the user names no size.
///
/// An https request through ureq and rustls, with gzip, touches 56 KiB in a release build and 124 KiB in a
/// debug build.
pub(crate) const DEFAULT: u32 =
    if cfg!(debug_assertions) { IN_DEBUG_BUILDS } else { IN_RELEASE_BUILDS };

pub(crate) const IN_DEBUG_BUILDS: u32 = 1 << 20;
pub(crate) const IN_RELEASE_BUILDS: u32 = 256 << 10;

/// The usable bytes that a stack has at least.
///
/// A panic needs them: it touches 24 KiB when it prints a backtrace, in a debug and in a release build, and 8 KiB
/// when it does not.
pub(crate) const SMALLEST: usize = 32 << 10;

/// The stack size that a caller of the public interface has given.
///
/// # Panics
///
/// Below [`SMALLEST`], and from 4 GiB.
#[track_caller]
pub(crate) fn checked(bytes: usize) -> u32 {
    assert!(
        bytes >= SMALLEST,
        "a stack of {bytes} bytes is too small: a panic with a backtrace needs {SMALLEST}"
    );
    bytes.try_into().unwrap_or_else(|_| {
        panic!("a stack of {bytes} bytes: 4 GiB and more is taken to be a mistake")
    })
}

/// How deep the stack with the lowest usable address `bottom` has been, in bytes, to the page: how much of it lies
/// above the lowest page that holds memory. `None` if there is no stack (`bottom` is 0), or the operating system does
/// not report it. A signal handler may call this: it neither locks nor allocates.
pub(crate) fn touched(bottom: usize, usable: usize) -> Option<usize> {
    const AT_ONCE: usize = 64;
    let page = page_size();
    let top = bottom + usable.next_multiple_of(page);
    if bottom == 0 {
        return None;
    }
    for from in (bottom..top).step_by(AT_ONCE * page) {
        let pages = (top - from).div_ceil(page).min(AT_ONCE);
        let mut resident = [0_u8; AT_ONCE];
        // SAFETY: `mincore` fills one byte for each page of the range, for which there is room.
        if unsafe { libc::mincore(from as *mut _, pages * page, resident.as_mut_ptr()) } != 0 {
            return None;
        }
        if let Some(lowest) = resident[..pages].iter().position(|page| page & 1 != 0) {
            return Some(top - from - lowest * page);
        }
    }
    Some(0)
}

/// The bytes of memory that the idle stacks of a thread may hold after a run.
const KEPT: usize = 16 << 20;

/// To be called at the end of a run: the idle stacks of this thread give their memory back.
///
/// If fewer than [`KEPT`] bytes of pages have been given to the thread since the last time, its idle stacks cannot hold
/// more than that, and are left alone: small runs follow one another at no cost.
pub(crate) fn trim() {
    thread_local!(static GIVEN: Cell<usize> = const { Cell::new(0) });
    let given = page_faults();
    if given.is_some_and(|now| now.saturating_sub(GIVEN.get()) * page_size() < KEPT) {
        return;
    }
    GIVEN.set(given.unwrap_or(0));
    let _ = coroutine::with_pools(Pools::trim); // At the very end of a thread there is none.
}

/// How many pages of memory this thread has been given so far: its minor page faults, those that
/// read nothing from a disk. `None` if the operating system does not count them.
pub(crate) fn page_faults() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the operating system writes to the struct on this stack, which is plain numbers.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
        // SAFETY: as above; zeros are numbers too.
        Some(unsafe { usage.assume_init() }.ru_minflt as usize)
    }
    #[cfg(not(target_os = "linux"))]
    None
}
