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

/// What would be right of values that are few: the nearest, and all of them where they fit into a line.
pub fn choices<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    const LINE_MAX: usize = 8;
    let hint = suggestion(word, known.clone())?;
    let is_whole = nearest(word, known.clone()).is_none() || known.clone().into_iter().count() > LINE_MAX;
    Some(if is_whole { hint } else { format!("{hint} {}", listed(known)) })
}

/// What would be right: the nearest word, or all of them if they are few.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    const LISTED_MAX: usize = 12;
    if let Some(best) = nearest(word, known.clone()) {
        return Some(format!("did you mean `{best}`?"));
    }
    let count = known.clone().into_iter().count();
    (1..=LISTED_MAX).contains(&count).then(|| listed(known))
}

fn listed<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<_> = known.into_iter().map(|candidate| format!("`{candidate}`")).collect();
    format!("known here: {}", all.join(", "))
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

    #[test]
    fn few_values_are_listed_beside_the_nearest_and_many_are_not() {
        let said = |word: &str, known: &[&'static str]| choices(word, known.to_vec());
        assert_eq!(said("Strickt", &["Permissive", "Strict"]).unwrap(), "did you mean `Strict`? known here: `Permissive`, `Strict`");
        assert_eq!(said("Off", &["Permissive", "Strict"]).unwrap(), "known here: `Permissive`, `Strict`");
        let many = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        assert_eq!(said("GTE", &many).unwrap(), "did you mean `GET`?");
    }
}
