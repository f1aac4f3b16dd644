//! Which of several suspects is to blame, found by letting them in group by group and hearing what the proxies say.
//! Knows no objects, no proxies and no clock.
//!
//! All are set aside first. If that cures nothing, none of them is to blame and all come back: an innocent object is never
//! set aside because somebody else is guilty. Else groups are halved: one culprit among n suspects is found in at most
//! 1 + 2·log₂ n answers, and each further one in as many again.

use std::collections::BTreeSet;

/// Suspects, those that are set aside now, and those that are known to be guilty.
#[derive(Debug)]
pub(crate) struct Trial<T> {
    suspects: BTreeSet<T>,
    guilty: BTreeSet<T>,
    waiting: Vec<Group<T>>,
    testing: Option<Test<T>>,
    /// Without any of the suspects, as it was before they came, it was accepted.
    accepted_before: bool,
}

/// Suspects that are set aside together.
#[derive(Debug)]
struct Group<T> {
    members: Vec<T>,
    /// With the whole group let in, the answer was a refusal, and without it none.
    refused: bool,
}

/// What the next answer is about.
#[derive(Debug)]
enum Test<T> {
    /// None is let in. The flag says that with all of them the answer was a refusal.
    Nobody(Vec<T>, bool),
    /// All of them are.
    Whole(Vec<T>),
    /// The first half of a group that was refused is, the second is not.
    Half(Vec<T>, Vec<T>),
}

/// What proxies say to what is served at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// They accepted it.
    Accepted,
    /// They refused it.
    Refused,
}

impl<T: Ord + Clone> Trial<T> {
    /// A trial of these, all set aside; `accepted_before` says that what there was without them was accepted.
    pub(crate) fn new(suspects: BTreeSet<T>, accepted_before: bool) -> Self {
        let all = suspects.iter().cloned().collect();
        Self { suspects, guilty: BTreeSet::new(), waiting: Vec::new(), testing: Some(Test::Nobody(all, true)), accepted_before }
    }

    /// Everybody who was ever suspected.
    pub(crate) fn suspects(&self) -> &BTreeSet<T> {
        &self.suspects
    }

    /// Those whose guilt is proven.
    pub(crate) fn guilty(&self) -> &BTreeSet<T> {
        &self.guilty
    }

    /// Those that are not to be served now, the guilty among them.
    pub(crate) fn aside(&self) -> BTreeSet<T> {
        let tested = match &self.testing {
            Some(Test::Nobody(held, _) | Test::Half(_, held)) => held.as_slice(),
            Some(Test::Whole(_)) | None => &[],
        };
        let waiting = self.waiting.iter().flat_map(|group| &group.members);
        self.guilty.iter().chain(waiting).chain(tested).cloned().collect()
    }

    /// Whether nothing is left to be found out.
    pub(crate) fn is_over(&self) -> bool {
        self.testing.is_none()
    }

    /// Takes the answer to what [`Self::aside`] left.
    pub(crate) fn take(&mut self, answer: Answer) {
        match (self.testing.take(), answer) {
            (Some(Test::Nobody(..)), Answer::Refused) => self.waiting.clear(),
            (Some(Test::Nobody(members, refused)), Answer::Accepted) => self.waiting.insert(0, Group { members, refused }),
            (Some(Test::Whole(members)), Answer::Refused) => self.waiting.push(Group { members, refused: true }),
            (Some(Test::Half(first, second)), Answer::Refused) => {
                self.waiting.push(Group { members: second, refused: false });
                self.waiting.push(Group { members: first, refused: true });
            }
            // With it the whole was refused, and without it not.
            (Some(Test::Half(_, second)), Answer::Accepted) => self.waiting.push(Group { members: second, refused: true }),
            (Some(Test::Whole(_)), Answer::Accepted) | (None, _) => {}
        }
        self.go_on();
    }

    /// Others came in while the trial runs: they are suspects too, and tested last.
    pub(crate) fn join(&mut self, newcomers: BTreeSet<T>) {
        let members: Vec<T> = newcomers.difference(&self.suspects).cloned().collect();
        self.suspects.extend(newcomers);
        match &mut self.testing {
            Some(Test::Nobody(all, _)) => all.extend(members),
            Some(Test::Whole(_) | Test::Half(..)) | None => self.waiting.insert(0, Group { members, refused: false }),
        }
        self.go_on();
    }

    /// Something else changed, so earlier answers prove less than they did; `remains` says who is still there.
    pub(crate) fn doubt(&mut self, remains: impl Fn(&T) -> bool) {
        let keep = |members: &mut Vec<T>| members.retain(&remains);
        self.suspects.retain(&remains);
        self.guilty.retain(&remains);
        for group in &mut self.waiting {
            keep(&mut group.members);
            group.refused = false;
        }
        match &mut self.testing {
            Some(Test::Nobody(members, refused)) => {
                keep(members);
                *refused = false;
            }
            Some(Test::Whole(members)) => keep(members),
            Some(Test::Half(..)) => {
                if let Some(Test::Half(mut first, mut second)) = self.testing.take() {
                    keep(&mut first);
                    keep(&mut second);
                    self.waiting.push(Group { members: second, refused: false });
                    self.testing = Some(Test::Whole(first));
                }
            }
            None => {}
        }
        self.go_on();
    }

    /// Nobody answers any more: only what is proven stays aside. One suspect alone is proven by what was refused with it and
    /// accepted before it, if anything was.
    pub(crate) fn end(&mut self) {
        if let Some(Test::Nobody(all, true)) = self.testing.take()
            && self.suspects.len() == 1
            && self.accepted_before
        {
            self.guilty.extend(all);
        }
        self.waiting.clear();
    }

    /// To the next question, unless one is open.
    fn go_on(&mut self) {
        while self.testing.as_ref().is_none_or(Test::is_empty) {
            self.testing = None;
            let Some(Group { mut members, refused }) = self.waiting.pop() else { return };
            self.testing = match (refused, members.len()) {
                (_, 0) => None,
                (true, 1) => {
                    self.guilty.extend(members);
                    None
                }
                (true, count) => {
                    let second = members.split_off(count / 2);
                    Some(Test::Half(members, second))
                }
                (false, _) => Some(Test::Whole(members)),
            };
        }
    }
}

impl<T> Test<T> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Nobody(members, _) | Self::Whole(members) => members.is_empty(),
            Self::Half(first, second) => first.is_empty() && second.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspects(count: u32) -> BTreeSet<u32> {
        (0..count).collect()
    }

    /// Runs a trial against a proxy that refuses what `refuses` says of those that are in; returns the guilty and the
    /// number of answers.
    fn judge(trial: &mut Trial<u32>, refuses: impl Fn(&BTreeSet<u32>) -> bool) -> (Vec<u32>, usize) {
        let mut answers = 0;
        while !trial.is_over() {
            let served = trial.suspects().difference(&trial.aside()).copied().collect();
            trial.take(if refuses(&served) { Answer::Refused } else { Answer::Accepted });
            answers += 1;
            assert!(answers < 100_000, "the trial does not end");
        }
        assert_eq!(trial.aside(), *trial.guilty());
        (trial.guilty().iter().copied().collect(), answers)
    }

    fn log2(count: u32) -> usize {
        count.next_power_of_two().ilog2() as usize
    }

    #[test]
    fn one_culprit_of_any_number_is_found_in_twice_the_logarithm() {
        for count in [1, 2, 3, 7, 8, 100, 1_000] {
            for culprit in (0..count).step_by((count as usize / 13).max(1)) {
                let (guilty, answers) = judge(&mut Trial::new(suspects(count), true), |served| served.contains(&culprit));
                assert_eq!(guilty, [culprit]);
                assert!(answers <= 1 + 2 * log2(count), "{answers} answers for {count} suspects");
            }
        }
    }

    #[test]
    fn any_culprits_among_nine_are_found_and_nobody_else() {
        for chosen in 0_u32..1 << 9 {
            let culprits: Vec<u32> = (0..9).filter(|one| chosen & 1 << one != 0).collect();
            let refuses = |served: &BTreeSet<u32>| culprits.iter().any(|culprit| served.contains(culprit));
            // Without a culprit there would have been no trial, and somebody is blamed for what was refused before it.
            if !culprits.is_empty() {
                assert_eq!(judge(&mut Trial::new(suspects(9), true), refuses).0, culprits);
            }
        }
    }

    #[test]
    fn several_culprits_take_as_many_answers_each() {
        for culprits in [vec![0, 1], vec![3, 60], vec![0, 31, 32, 63], (0..64).collect()] {
            let refuses = |served: &BTreeSet<u32>| culprits.iter().any(|culprit| served.contains(culprit));
            let (guilty, answers) = judge(&mut Trial::new(suspects(64), true), refuses);
            assert_eq!(guilty, culprits);
            assert!(answers <= 1 + 2 * 6 * culprits.len(), "{answers} answers for {culprits:?}");
        }
    }

    #[test]
    fn of_two_that_are_bad_together_one_is_set_aside() {
        for pair in [[0, 1], [5, 50], [62, 63]] {
            let (guilty, _) = judge(&mut Trial::new(suspects(64), true), |served| pair.iter().all(|one| served.contains(one)));
            assert!(guilty.len() == 1 && pair.contains(&guilty[0]), "{guilty:?} for {pair:?}");
        }
    }

    #[test]
    fn where_the_culprit_is_none_of_them_all_come_back() {
        for count in [1, 2, 100] {
            assert_eq!(judge(&mut Trial::new(suspects(count), true), |_| true), (vec![], 1));
        }
    }

    #[test]
    fn when_nobody_answers_any_more_only_what_is_proven_stays_aside() {
        let mut trial = Trial::new(suspects(8), true);
        trial.take(Answer::Accepted);
        trial.end();
        assert!(trial.is_over());
        assert_eq!(trial.aside(), BTreeSet::new());

        let mut alone = Trial::new(suspects(1), true);
        alone.end();
        assert_eq!(alone.aside(), suspects(1));

        let mut first = Trial::new(suspects(1), false);
        first.end();
        assert_eq!(first.aside(), BTreeSet::new(), "nothing was ever accepted, so nothing is proven");
    }

    #[test]
    fn what_changes_meanwhile_is_tried_too_and_earlier_answers_prove_nothing() {
        let bad_at_last = |served: &BTreeSet<u32>| served.contains(&100);
        let mut trial = Trial::new(suspects(8), true);
        trial.take(Answer::Accepted);
        // Suspect 7 was to blame; while the first half is tried it is edited, and its new version 100 is bad.
        trial.doubt(|one| *one != 7);
        trial.join(BTreeSet::from([100]));
        assert!(trial.aside().contains(&100), "set aside until it was tried");
        assert_eq!(judge(&mut trial, bad_at_last).0, [100]);
    }

    #[test]
    fn a_culprit_that_was_mended_meanwhile_leaves_nobody_to_blame() {
        let mut trial = Trial::new(suspects(2), true);
        trial.take(Answer::Accepted);
        trial.doubt(|one| *one != 0);
        assert_eq!(judge(&mut trial, |served| served.contains(&0)).0, Vec::<u32>::new());
    }

    #[test]
    fn newcomers_before_the_first_answer_are_set_aside_with_the_others() {
        let mut trial = Trial::new(suspects(4), true);
        trial.join(BTreeSet::from([9]));
        assert_eq!(trial.aside().len(), 5);
        assert_eq!(judge(&mut trial, |served| served.contains(&9)).0, [9]);
    }
}
