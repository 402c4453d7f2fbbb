use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn nobody_else_reads_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("a/state");
    State::open(&state).unwrap();
    let mode = fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn what_was_moved_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let guest = GuestId::new(17).unwrap();
    let last = MessageId::new(1, 5);
    {
        let state = State::open(directory.path()).unwrap();
        assert_eq!(state.moved(guest).unwrap(), None);
        assert!(state.set_moved(guest, None, last).unwrap());
        assert!(!state.set_moved(guest, None, last).unwrap());
    }
    let state = State::open(directory.path()).unwrap();
    assert_eq!(state.moved(guest).unwrap(), Some(last));
}
