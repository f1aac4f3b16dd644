//! A connection and its streams as one task: a change goes from the session to the socket, and an answer from the socket
//! to the session, in one turn and without waking another task. Each part is polled only when it itself was woken.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;
use futures::task::AtomicWaker;

use crate::limits;

/// Starts parts; they are polled by the [`Together`] it belongs to, in its next turn.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Spawner {
    pub(crate) fn spawn(&self, part: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(part));
    }

    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, part: F) {
        self.spawn(part);
    }
}

/// The parts of one connection, beside the one that ends it.
pub(crate) struct Together {
    spawner: Spawner,
    parts: Vec<Part>,
    main: Arc<Flag>,
    main_waker: Waker,
    task: Arc<Task>,
}

struct Part {
    future: BoxFuture<'static, ()>,
    flag: Arc<Flag>,
    waker: Waker,
}

/// Set when its part was woken.
struct Flag {
    woken: AtomicBool,
    task: Arc<Task>,
}

/// The task that polls all of them.
#[derive(Default)]
struct Task {
    /// In its turn it looks at all flags itself and need not be woken.
    in_turn: AtomicBool,
    waker: AtomicWaker,
}

impl Flag {
    fn new(task: &Arc<Task>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), task: Arc::clone(task) })
    }

    fn take(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    // The flag first, then the look at the turn; the task ends its turn first, then looks at the flags. So one of them
    // sees the other.
    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if !self.task.in_turn.load(Ordering::SeqCst) {
            self.task.waker.wake();
        }
    }
}

impl Together {
    pub(crate) fn new(spawner: Spawner) -> Self {
        let task = Arc::new(Task::default());
        let main = Flag::new(&task);
        Self { spawner, parts: Vec::new(), main_waker: Waker::from(Arc::clone(&main)), main, task }
    }

    /// Polls `main`, then whatever was woken, and ends with `main`.
    pub(crate) async fn drive<F: Future>(&mut self, mut main: Pin<&mut F>) -> F::Output {
        self.main.woken.store(true, Ordering::SeqCst);
        poll_fn(|cx| self.poll(main.as_mut(), cx)).await
    }

    fn poll<F: Future>(&mut self, mut main: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.task.waker.register(cx.waker());
        for _ in 0..limits::ROUNDS_PER_TURN {
            self.task.in_turn.store(true, Ordering::SeqCst);
            self.poll_parts();
            // Last, so that what the parts have to say leaves in this turn.
            if self.main.take()
                && let Poll::Ready(end) = main.as_mut().poll(&mut Context::from_waker(&self.main_waker))
            {
                self.task.in_turn.store(false, Ordering::SeqCst);
                return Poll::Ready(end);
            }
            self.task.in_turn.store(false, Ordering::SeqCst);
            if !self.is_woken() {
                return Poll::Pending;
            }
        }
        // Others want a turn too, and a part whose budget is spent wakes itself for ever.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_parts(&mut self) {
        for future in self.spawner.take() {
            let flag = Flag::new(&self.task);
            self.parts.push(Part { future, waker: Waker::from(Arc::clone(&flag)), flag });
        }
        self.parts.retain_mut(|part| {
            let mut turn = Context::from_waker(&part.waker);
            !(part.flag.take() && part.future.as_mut().poll(&mut turn).is_ready())
        });
    }

    fn is_woken(&self) -> bool {
        let set = |flag: &Flag| flag.woken.load(Ordering::SeqCst);
        set(&self.main) || self.parts.iter().any(|part| set(&part.flag)) || !self.spawner.is_empty()
    }
}

impl Drop for Together {
    /// What was not started yet holds what holds the spawner.
    fn drop(&mut self) {
        self.spawner.take();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    async fn run<T>(spawner: Spawner, main: impl Future<Output = T>) -> T {
        Together::new(spawner).drive(pin!(main)).await
    }

    #[tokio::test]
    async fn parts_wake_each_other_and_the_main_one() {
        let spawner = Spawner::default();
        let (there, back) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (heard, answer) = (there.clone(), back.clone());
        spawner.spawn(async move {
            heard.notified().await;
            answer.notify_one();
        });
        run(spawner, async {
            there.notify_one();
            back.notified().await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_part_that_was_not_woken_is_not_polled() {
        let (spawner, polls) = (Spawner::default(), Arc::new(AtomicUsize::new(0)));
        let counted = polls.clone();
        spawner.spawn(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Poll::Pending
        }));
        run(spawner, async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_part_that_always_wakes_itself_starves_nobody() {
        let spawner = Spawner::default();
        spawner.spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let other = tokio::spawn(std::future::ready(()));
        run(spawner, other).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_part_that_another_thread_wakes_is_never_slept_through() {
        const TIMES: usize = 20_000;
        let (spawner, ping, pong) = (Spawner::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (heard, answer) = (ping.clone(), pong.clone());
        spawner.spawn(async move {
            loop {
                heard.notified().await;
                answer.notify_one();
            }
        });
        let other = tokio::spawn(async move {
            for _ in 0..TIMES {
                ping.notify_one();
                pong.notified().await;
            }
        });
        run(spawner, other).await.unwrap();
    }
}
