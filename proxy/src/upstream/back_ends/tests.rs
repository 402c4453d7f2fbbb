//! Who is chosen, and who is out.

use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::config::{Check, file};
use crate::upstream::check::Failure;

fn origin(index: usize) -> Origin {
    Origin::Unix(format!("/{index}").into())
}

/// All else by default.
fn config(count: usize) -> Upstream {
    let mut site = file::defaults(&origin(0)).sites.remove(0);
    site.upstream.origins = (0..count).map(origin).collect();
    site.upstream
}

/// The same, and checked.
fn checked(count: usize) -> Upstream {
    let mut config = config(count);
    config.health.check = Some(Check {
        path: "/health".parse().unwrap(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        expect: None,
        host: None,
    });
    config
}

fn back_ends(count: usize) -> BackEnds {
    BackEnds::new(&config(count))
}

fn unreachable(back_end: &BackEnd, silent: bool) {
    back_end.unreachable(silent, &config(1).health);
}

fn guest(number: u32) -> Option<GuestId> {
    GuestId::new(number)
}

#[test]
fn the_least_busy_is_next_and_equals_take_turns() {
    let back_ends = back_ends(3);
    let next = || back_ends.choose(&[], None).unwrap().index;
    let mut turns = [next(), next(), next()];
    turns.sort_unstable();
    assert_eq!(turns, [0, 1, 2]);
    let _first = back_ends.all[0].count();
    let _third = back_ends.all[2].count();
    assert_eq!([next(), next(), next()], [1, 1, 1]);
    assert_eq!(back_ends.choose(&[0, 1], None).unwrap().index, 2);
    assert!(back_ends.choose(&[0, 1, 2], None).is_none());
}

#[test]
fn one_that_is_out_is_asked_by_one_after_its_pause() {
    let back_ends = back_ends(2);
    let out = &back_ends.all[0];
    unreachable(out, false);
    for _ in 0..4 {
        assert_eq!(back_ends.choose(&[], None).unwrap().index, 1);
    }
    out.end_pause();
    let probe = back_ends.choose(&[], None).unwrap();
    assert_eq!((probe.index, probe.is_probe), (0, true));
    assert_eq!(back_ends.choose(&[], None).unwrap().index, 1);
    // Whoever asked has gone: another one asks.
    drop(probe);
    let probe = back_ends.choose(&[], None).unwrap();
    assert_eq!(probe.index, 0);
    probe.reached();
    drop(probe);
    assert!(out.is_in());
}

#[test]
fn where_none_is_in_a_silent_one_is_asked_by_one_at_a_time_without_a_pause() {
    let back_ends = back_ends(1);
    unreachable(&back_ends.all[0], true);
    let probe = back_ends.choose(&[], None);
    assert!(probe.is_some() && back_ends.choose(&[], None).is_none());
    drop(probe);
    assert!(back_ends.choose(&[], None).is_some());
    // One that refuses is asked by all.
    unreachable(&back_ends.all[0], false);
    let both = (back_ends.choose(&[], None), back_ends.choose(&[], None));
    assert!(both.0.is_some_and(|one| one.is_probe) && both.1.is_some());
}

#[test]
fn so_many_failures_take_one_out_as_follow_each_other() {
    let settings = Health {
        max_failures: 2,
        ..config(1).health
    };
    let back_end = BackEnd::new(origin(0));
    back_end.unreachable(true, &settings);
    back_end.reached();
    back_end.unreachable(true, &settings);
    assert!(back_end.is_in());
    back_end.unreachable(true, &settings);
    assert!(!back_end.is_in() && back_end.failures() == 3);
    let why = Failure::Status(StatusCode::BAD_GATEWAY);
    let back_end = BackEnd::new(origin(0));
    back_end.is_unwell(&why, &settings);
    back_end.is_well();
    back_end.is_unwell(&why, &settings);
    // What requests see is not what checks see.
    back_end.reached();
    assert!(back_end.is_in());
    back_end.is_unwell(&why, &settings);
    assert!(back_end.fails_checks() && back_end.failed_checks() == 3);
}

#[test]
fn what_fails_its_checks_is_in_again_by_a_check_alone() {
    let config = checked(2);
    let back_ends = BackEnds::new(&config);
    let [sick, well] = back_ends.all.as_slice() else {
        panic!("two")
    };
    let why = Failure::Status(StatusCode::BAD_GATEWAY);
    sick.is_unwell(&why, &config.health);
    sick.reached();
    assert!(!sick.is_in());
    // Nobody tries one that is checked, the pause over or not.
    unreachable(well, false);
    sick.is_well();
    well.end_pause();
    for _ in 0..4 {
        assert_eq!(back_ends.choose(&[], None).unwrap().index, 0);
    }
    // While none is in, both are asked: the one that is not well over kept connections, too.
    sick.is_unwell(&why, &config.health);
    let mut asked: Vec<_> = (0..2)
        .map(|_| back_ends.choose(&[], None).unwrap())
        .map(|chosen| (chosen.index, chosen.is_probe))
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [(0, false), (1, true)]);
    // A silent one is not: it would make everybody wait.
    let why = Failure::NoAnswer(crate::error::Error::ConnectTimeout(Duration::ZERO));
    sick.is_unwell(&why, &config.health);
    for _ in 0..4 {
        assert_eq!(back_ends.choose(&[], None).unwrap().index, 1);
    }
}

#[test]
fn a_reload_keeps_what_is_known_of_those_that_stay() {
    let mut config = checked(2);
    let before = BackEnds::new(&config);
    unreachable(&before.all[1], false);
    before.all[0].is_unwell(&Failure::Late(Duration::ZERO), &config.health);
    config.origins = vec![origin(1), origin(2), origin(0)];
    let after = before.changed(&config);
    assert!(Arc::ptr_eq(&after.all[0], &before.all[1]));
    let are_in = || [0, 1, 2].map(|index: usize| after.all[index].is_in());
    assert_eq!(are_in(), [false, true, false]);
    after.forget_checks();
    assert_eq!(are_in(), [false, true, true]);
}

#[test]
fn a_guest_stays_where_it_is_at_home() {
    let mut config = config(4);
    config.sticky = Sticky::Guest;
    let back_ends = BackEnds::new(&config);
    let home = |back_ends: &BackEnds, number| {
        let chosen = back_ends.choose(&[], guest(number)).unwrap();
        chosen.origin.to_string()
    };
    let homes: Vec<String> = (1..=1000).map(|number| home(&back_ends, number)).collect();
    for index in 0..4 {
        let name = origin(index).to_string();
        let share = homes.iter().filter(|home| **home == name).count();
        assert!((150..350).contains(&share), "{name} has {share}");
    }
    // However busy it is.
    let _busy: Vec<_> = back_ends.all.iter().take(2).map(|it| it.count()).collect();
    for (number, before) in (1..).zip(&homes) {
        assert_eq!(home(&back_ends, number), *before);
    }
    // One less, in another order: none but its own move.
    config.origins = vec![origin(3), origin(0), origin(2)];
    let fewer = back_ends.changed(&config);
    for (number, before) in (1..).zip(&homes) {
        let now = home(&fewer, number);
        assert_eq!(now == *before, *before != origin(1).to_string());
    }
}

#[test]
fn a_guest_whose_own_is_out_or_tried_is_at_the_next_and_tries_none_but_its_own() {
    let mut config = config(2);
    config.sticky = Sticky::Guest;
    let back_ends = BackEnds::new(&config);
    let home = |number| back_ends.choose(&[], guest(number)).unwrap().index;
    let of_the_first = (1..).find(|number| home(*number) == 0).unwrap();
    let of_the_second = (1..).find(|number| home(*number) == 1).unwrap();
    assert_eq!(
        back_ends.choose(&[0], guest(of_the_first)).unwrap().index,
        1
    );
    unreachable(&back_ends.all[0], false);
    assert_eq!([home(of_the_first), home(of_the_second)], [1, 1]);
    back_ends.all[0].end_pause();
    assert_eq!([home(of_the_second), home(of_the_first)], [1, 0]);
}

#[test]
fn without_sticky_a_guest_goes_where_all_go() {
    let back_ends = back_ends(2);
    let _busy = back_ends.all[0].count();
    for number in 1..20 {
        assert_eq!(back_ends.choose(&[], guest(number)).unwrap().index, 1);
    }
}
