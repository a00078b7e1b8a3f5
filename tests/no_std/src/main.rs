//! A cluster of one, in a process without Rust's standard library: its own panic handler, its own allocator, and of the C
//! library only the entry point and `abort`. Exits 0 when a proposal is applied.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quorate::raft::{
    Action, Actions, Config, Configuration, DiskId, Event, Member, NodeId, Raft, Recovered, Role,
};
use quorate::time::Now;

#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
}

/// Never called: everything aborts. The prebuilt `core` and `alloc` name it all the same.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Never called, and named like the above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    abort()
}

const HEAP: usize = 4 << 20;

/// Memory that is handed out once and never taken back: enough for a test, and all that one can do without a system.
#[repr(align(16))]
struct Bump {
    bytes: UnsafeCell<[u8; HEAP]>,
    used: AtomicUsize,
}

// SAFETY: each byte is handed out at most once, by the atomic counter.
unsafe impl Sync for Bump {}

// SAFETY: the pieces are disjoint, inside `bytes`, and aligned as asked, up to the 16 bytes that `Bump` itself has.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let len = layout.size().next_multiple_of(16);
        let start = self.used.fetch_add(len, Ordering::Relaxed);
        if layout.align() > 16 || start.saturating_add(len) > HEAP {
            return ptr::null_mut();
        }
        // SAFETY: `start` is inside `bytes`, as just checked.
        unsafe { self.bytes.get().cast::<u8>().add(start) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP_OF_ALL: Bump = Bump { bytes: UnsafeCell::new([0; HEAP]), used: AtomicUsize::new(0) };

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    match run() {
        Some(()) => 0,
        None => 1,
    }
}

/// A single voter elects itself, takes a proposal and applies it, its disk answering at once.
fn run() -> Option<()> {
    let id = NodeId(1);
    let member = Member { disk: DiskId(1), peer_address: String::new(), client_address: String::new() };
    let configuration = Configuration::of_voters(BTreeMap::from([(id, member)]));
    let mut raft = Raft::new(Config::new(id, 7), Recovered::formed(DiskId(1), &configuration), Now::new(0, 0)).ok()?;
    let mut now = Now::new(0, 0);
    while raft.status().role != Role::Leader {
        now.mono += 100_000;
        if now.mono > 10_000_000 {
            return None;
        }
        let actions = raft.step(now, Event::Wake);
        drive(&mut raft, now, actions);
    }
    let actions = raft.step(now, Event::Propose { proposal: 1, data: Bytes::from_static(b"hello") });
    drive(&mut raft, now, actions).then_some(())
}

/// Performs the actions and those that follow from them; whether the proposal was applied.
fn drive(raft: &mut Raft, now: Now, mut actions: Actions) -> bool {
    let mut applied = false;
    while !actions.is_empty() {
        let mut next = Actions::new();
        for action in actions {
            match action {
                Action::Persist(persist) => raft.step_into(now, [Event::Persisted { id: persist.id }], &mut next),
                Action::Apply(entries) => applied |= entries.iter().any(|entry| &entry.data[..] == b"hello"),
                _ => {}
            }
        }
        actions = next;
    }
    applied
}
