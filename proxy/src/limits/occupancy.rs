//! What each address has at the moment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::household;

/// How many of something each address has. Who has none is not in it, so it is no larger than what there is.
#[derive(Debug, Default)]
pub(crate) struct Occupancy(Mutex<HashMap<IpAddr, usize>>);

/// One of them, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    table: Arc<Occupancy>,
    household: IpAddr,
}

impl Occupancy {
    /// One more for this address, if it has fewer than `max`.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<Seat> {
        let household = household(address);
        let mut table = self.table();
        let has = table.get(&household).copied().unwrap_or_default();
        if has >= max {
            return None;
        }
        table.insert(household, has + 1);
        drop(table);
        Some(Seat {
            table: Arc::clone(self),
            household,
        })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.table.table();
        match table.get_mut(&self.household) {
            Some(has) if *has > 1 => *has -= 1,
            Some(_) | None => {
                table.remove(&self.household);
            }
        }
        // What a flood made is given back.
        if table.len() < table.capacity() / 8 {
            table.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_household_has_its_own_and_is_forgotten() {
        let table = Arc::new(Occupancy::default());
        let enter = |address: &str| table.enter(address.parse().unwrap(), 2);
        let seats: Vec<Seat> = [enter("1.2.3.4"), enter("1.2.3.4"), enter("1.2.3.5")]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(seats.len(), 3);
        assert!(enter("1.2.3.4").is_none());
        let six = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(six.0.is_some() && six.1.is_some());
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        drop(seats);
        assert!(enter("1.2.3.4").is_some());
        drop(six);
        assert!(table.table().is_empty());
    }

    #[test]
    fn a_flood_leaves_nothing() {
        let table = Arc::new(Occupancy::default());
        let seat = |number: u32| table.enter(IpAddr::V4(number.into()), 1);
        let seats: Vec<_> = (0..100_000).map(seat).collect();
        assert!(table.table().capacity() >= 100_000);
        drop(seats);
        assert!(table.table().capacity() < 100);
    }
}
