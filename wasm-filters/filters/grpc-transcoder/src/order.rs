//! Sorting by one piece of code for every type: the standard library's sorts are instantiated for each, and a module is
//! compiled by every worker before it serves.

/// Sorts, equal items staying in their order.
pub(crate) fn sort<T>(items: &mut Vec<T>, less: impl Fn(&T, &T) -> bool) {
    let order = ordered(items.len(), &|a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => less(a, b),
        _ => false,
    });
    let mut slots: Vec<Option<T>> = std::mem::take(items).into_iter().map(Some).collect();
    items.extend(order.into_iter().filter_map(|index| slots.get_mut(index)?.take()));
}

/// The indices of so many items in their order: a bottom-up merge sort, n log n whatever the items are.
fn ordered(length: usize, less: &dyn Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    let mut width = 1;
    while width < length {
        let mut merged = Vec::with_capacity(length);
        for pair in order.chunks(width.saturating_mul(2)) {
            let (left, right) = pair.split_at_checked(width).unwrap_or((pair, &[]));
            merge(left, right, less, &mut merged);
        }
        order = merged;
        width = width.saturating_mul(2);
    }
    order
}

fn merge(mut left: &[usize], mut right: &[usize], less: &dyn Fn(usize, usize) -> bool, out: &mut Vec<usize>) {
    while let (Some((a, left_rest)), Some((b, right_rest))) = (left.split_first(), right.split_first()) {
        if less(*b, *a) {
            out.push(*b);
            right = right_rest;
        } else {
            out.push(*a);
            left = left_rest;
        }
    }
    out.extend_from_slice(left);
    out.extend_from_slice(right);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_sorted_and_equal_items_stay_in_order() {
        for length in 0..40u32 {
            let mut items: Vec<(u32, u32)> = (0..length).map(|at| (at.wrapping_mul(2_654_435_761) % 5, at)).collect();
            let mut expected = items.clone();
            expected.sort();
            sort(&mut items, |a, b| a.0 < b.0);
            assert_eq!(items, expected);
        }
    }
}
