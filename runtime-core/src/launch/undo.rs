//! Undo: each change of the host is a guard, and guards are dropped in the reverse order of their
//! making. A failed or panicking `create` thus takes back what it did, and nothing else.

use std::ops::{Deref, DerefMut};

use crate::deadline;

/// A change of the host that is taken back unless it is kept.
#[derive(Debug)]
pub(crate) struct Guard<T, U: FnOnce(T)> {
    change: Option<(T, U)>,
}

#[expect(clippy::unreachable, reason = "keep and drop end the guard, and each takes the change once")]
impl<T, U: FnOnce(T)> Guard<T, U> {
    /// Guards `value`, which `undo` takes back. Undoing reports nothing: the failure that led to it
    /// is what the user must see.
    pub(crate) fn new(value: T, undo: U) -> Self {
        Self { change: Some((value, undo)) }
    }

    /// The change stays.
    pub(crate) fn keep(mut self) -> T {
        match self.change.take() {
            Some((value, _)) => value,
            None => unreachable!("a guard is taken once: by keep or by drop"),
        }
    }
}

#[expect(clippy::unreachable, reason = "keep and drop end the guard, and each takes the change once")]
impl<T, U: FnOnce(T)> Deref for Guard<T, U> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.change {
            Some((value, _)) => value,
            None => unreachable!("a guard is taken once: by keep or by drop"),
        }
    }
}

#[expect(clippy::unreachable, reason = "keep and drop end the guard, and each takes the change once")]
impl<T, U: FnOnce(T)> DerefMut for Guard<T, U> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.change {
            Some((value, _)) => value,
            None => unreachable!("a guard is taken once: by keep or by drop"),
        }
    }
}

impl<T, U: FnOnce(T)> Drop for Guard<T, U> {
    fn drop(&mut self) {
        if let Some((value, undo)) = self.change.take() {
            deadline::suspended(|| undo(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::Guard;

    #[test]
    fn changes_are_taken_back_in_reverse_unless_kept() {
        let undone = RefCell::new(Vec::new());
        {
            let first = Guard::new(1, |n| undone.borrow_mut().push(n));
            let _second = Guard::new(2, |n| undone.borrow_mut().push(n));
            let _third = Guard::new(3, |n| undone.borrow_mut().push(n));
            assert_eq!(first.keep(), 1);
        }
        assert_eq!(*undone.borrow(), [3, 2]);
    }
}
