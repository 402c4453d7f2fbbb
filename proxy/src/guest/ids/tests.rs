use super::*;

fn source(state: Arc<State>, first_id: u64) -> Source {
    Source {
        state,
        first_id,
        shared: None,
    }
}

const NOTHING: Known = Known {
    number: 0,
    margin: 0,
};

#[test]
fn numbers_never_repeat_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let state = Arc::new(State::open(directory.path()).unwrap());
        let first = source(state, 1).block(&NOTHING).unwrap();
        assert_eq!(first.clone().count() as u64, BLOCK);
        for number in first {
            assert!(GuestId::new(number.try_into().unwrap()).is_some());
            assert!(seen.insert(number));
        }
    }
}

/// Whatever is configured one after the other.
#[test]
fn numbers_of_the_site_are_never_given() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Arc::new(State::open(directory.path()).unwrap());
    let mut given = std::collections::HashSet::new();
    for (first_id, gaps) in [(1, 0), (100, 0), (10_000, 1), (5_000, 1), (30_000, 2)] {
        let source = source(open(), first_id);
        given.extend(source.block(&NOTHING).unwrap());
        let skipped = source.of_the_site().unwrap();
        assert_eq!(skipped.len(), gaps, "{first_id}: {skipped:?}");
        let mut numbers = skipped.into_iter().flatten();
        assert!(numbers.all(|number| !given.contains(&number)));
    }
    let ids = Ids::start(open(), 1, None).unwrap();
    for number in 1..30_000 {
        let id = GuestId::new(number).unwrap();
        assert_eq!(ids.is_of_the_site(id), !given.contains(&number.into()));
    }
}
