//! The table of tasks: all that are not done, for reports and for the end of a run.

use std::mem;

use crate::kernel::task::TaskRef;

/// The tasks that are not done. Each has a slot, whose number the task keeps. (A `Slab` would need twice the memory.)
///
/// Tasks that are still here when the table is dropped are leaked: their frames exist, are never resumed, and may lend parts
/// of the task, such as its waker, to other threads.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Option<TaskRef>>,
    vacant: Vec<u32>,
}

impl Table {
    pub(crate) fn insert(&mut self, task: TaskRef) -> u32 {
        if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = Some(task);
            return slot;
        }
        self.slots.push(Some(task));
        u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 tasks")
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<TaskRef> {
        self.vacant.push(slot);
        self.slots[slot as usize].take()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// All tasks, the oldest first.
    pub(crate) fn by_age(&self) -> Vec<TaskRef> {
        let mut tasks: Vec<_> = self.slots.iter().flatten().cloned().collect();
        tasks.sort_unstable_by_key(|task| task.id);
        tasks
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.slots.drain(..).for_each(mem::forget);
    }
}
