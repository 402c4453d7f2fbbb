//! What time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, since 1970.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
