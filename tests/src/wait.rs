//! Waiting for something that another process does: by looking until it is so, never by sleeping and hoping.

use std::time::{Duration, Instant};

/// The pause between two looks: short at first, then kind to the machine.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// Looks until `probe` gives a value, and returns it.
///
/// # Panics
/// When `within` has passed; the message says `what` was awaited and why the last look was not it.
pub async fn wait_until<T>(within: Duration, what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    try_until(within, probe).await.unwrap_or_else(|reason| panic!("after {within:?} still waiting for {what}: {reason}"))
}

/// The same for somebody who goes on without it.
///
/// # Errors
/// When `within` has passed: why the last look was not it.
pub async fn try_until<T>(within: Duration, mut probe: impl AsyncFnMut() -> Result<T, String>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        let reason = match probe().await {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if start.elapsed() >= within {
            return Err(reason);
        }
        let young = start.elapsed() < Duration::from_millis(100);
        tokio::time::sleep(PAUSES[usize::from(!young)]).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_value_ends_the_wait() {
        let mut looks = 0;
        let value = wait_until(Duration::from_secs(5), "a third look", async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
        });
        assert_eq!(value.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "still waiting for rain: the sky is blue")]
    async fn the_deadline_tells_the_last_reason() {
        wait_until(Duration::from_millis(20), "rain", async || Err::<(), _>("the sky is blue".to_owned())).await;
    }
}
