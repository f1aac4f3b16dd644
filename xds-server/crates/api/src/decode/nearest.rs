//! The word that was probably meant.

/// The nearest of `known` to `word`, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let (best, distance) = known.into_iter().map(|candidate| (candidate, distance(&candidate))).min_by_key(|(_, distance)| *distance)?;
    (distance <= allowed(word)).then_some(best)
}

/// Slips that are forgiven: one in three letters, at least one, at most three.
fn allowed(word: &str) -> usize {
    (word.chars().count() / 3).clamp(1, 3)
}

/// What would be right: the nearest word, or all of them if they are few.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    const LISTED_MAX: usize = 12;
    if let Some(best) = nearest(word, known.clone()) {
        return Some(format!("did you mean `{best}`?"));
    }
    let all: Vec<_> = known.into_iter().map(|candidate| format!("`{candidate}`")).collect();
    (!all.is_empty() && all.len() <= LISTED_MAX).then(|| format!("known here: {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["backendRefs", "filters", "matches", "name", "timeouts"];
        let cases =
            [("backendRef", Some("backendRefs")), ("backendrefs", Some("backendRefs")), ("mathces", Some("matches")), ("weight", None)];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
