//! Which module of the model an operation belongs to.
//!
//! Parameters tell: an operation that reads `blocks.0.attention.query.weight` stands in `blocks.0.attention.query`. One
//! that reads none stands in what its surroundings share: a softmax between `attention.query` and `attention.output` in
//! `attention`.

use super::{Group, Leaf, LeafKind, Operation, Origin};
use std::collections::HashMap;

type Place = Vec<String>;

/// How many modules ahead are looked at.
const AHEAD: usize = 4;

/// Puts each operation into its group, and gives the groups.
pub(super) fn arrange(operations: &mut [Operation], leaves: &[Leaf]) -> Vec<Group> {
    let own = own_places(operations, leaves);
    let ahead = places_ahead(operations, &own);
    let mut places: Vec<Place> = Vec::with_capacity(operations.len());
    for (number, operation) in operations.iter().enumerate() {
        let place = match &own[number] {
            Some(place) => place.clone(),
            None => shared(&before(operation), &places, &ahead[number]),
        };
        places.push(place);
    }
    gather(operations, &places)
}

/// The operations whose results an operation reads, each once.
fn before(operation: &Operation) -> Vec<usize> {
    let mut before = Vec::new();
    for origin in &operation.operands {
        if let Origin::Operation { operation, .. } = origin
            && !before.contains(operation)
        {
            before.push(*operation);
        }
    }
    before
}

/// The places that parameters tell. What is made of parameters alone (a transposed weight) is as good as a parameter.
fn own_places(operations: &[Operation], leaves: &[Leaf]) -> Vec<Option<Place>> {
    let mut own: Vec<Option<Place>> = Vec::with_capacity(operations.len());
    let mut only_parameters: Vec<bool> = Vec::with_capacity(operations.len());
    for operation in operations {
        let (mut place, mut only): (Option<Place>, bool) = (None, true);
        for origin in &operation.operands {
            let told = match origin {
                Origin::Leaf(leaf) => parameter_place(&leaves[*leaf]),
                Origin::Operation { operation, .. } if only_parameters[*operation] => own[*operation].clone(),
                Origin::Operation { .. } => None,
            };
            only &= told.is_some();
            place = match (place, told) {
                (Some(place), Some(told)) => Some(common(&place, &told)),
                (place, told) => place.or(told),
            };
        }
        own.push(place);
        only_parameters.push(only);
    }
    own
}

/// The name of a parameter without its last part. A variable that is no parameter has no dot in its name, as a rule.
fn parameter_place(leaf: &Leaf) -> Option<Place> {
    let name = leaf.name.split(" (").next().unwrap_or_default();
    let (place, _) = name.rsplit_once('.')?;
    (leaf.kind == LeafKind::Learnt || leaf.id.is_some()).then(|| place.split('.').map(str::to_string).collect())
}

/// For each operation the first places that its result leads to.
fn places_ahead(operations: &[Operation], own: &[Option<Place>]) -> Vec<Vec<Place>> {
    let mut ahead: Vec<Vec<Place>> = vec![Vec::new(); operations.len()];
    for number in (0..operations.len()).rev() {
        let seen = match &own[number] {
            Some(place) => vec![place.clone()],
            None => ahead[number].clone(),
        };
        for earlier in before(&operations[number]) {
            for place in &seen {
                if ahead[earlier].len() < AHEAD && !ahead[earlier].contains(place) {
                    ahead[earlier].push(place.clone());
                }
            }
        }
    }
    ahead
}

/// The longest place that several sources share, or that one of them shares with what is ahead.
fn shared(before: &[usize], places: &[Place], ahead: &[Place]) -> Place {
    let mut best = Place::new();
    if let [first, second, rest @ ..] = before {
        best = common(&places[*first], &places[*second]);
        for other in rest {
            best = common(&best, &places[*other]);
        }
    }
    for earlier in before {
        for later in ahead {
            let both = common(&places[*earlier], later);
            if both.len() > best.len() {
                best = both;
            }
        }
    }
    best
}

fn common(a: &[String], b: &[String]) -> Place {
    a.iter().zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a.clone()).collect()
}

/// Makes groups of places. A path that has left a group does not come back into it: then the module is used again, which
/// is a group of its own.
fn gather(operations: &mut [Operation], places: &[Place]) -> Vec<Group> {
    let mut groups = vec![Group { name: String::new(), parent: None }];
    let mut newest: HashMap<(usize, String), (usize, usize)> = HashMap::new();
    let mut left: Vec<Vec<usize>> = Vec::with_capacity(operations.len());
    for number in 0..operations.len() {
        let before = before(&operations[number]);
        let mut here = 0;
        for part in &places[number] {
            let (group, uses) = newest.get(&(here, part.clone())).copied().unwrap_or((0, 0));
            let come_back = before.iter().any(|earlier| left[*earlier].binary_search(&group).is_ok());
            if uses > 0 && !come_back {
                here = group;
                continue;
            }
            let name = if uses == 0 { part.clone() } else { format!("{part} ({})", uses + 1) };
            groups.push(Group { name, parent: Some(here) });
            newest.insert((here, part.clone()), (groups.len() - 1, uses + 1));
            here = groups.len() - 1;
        }
        operations[number].group = here;
        let inside: Vec<usize> = around(&groups, here).collect();
        let mut gone = Vec::new();
        for earlier in before {
            gone.extend_from_slice(&left[earlier]);
            gone.extend(around(&groups, operations[earlier].group).filter(|group| !inside.contains(group)));
        }
        gone.sort_unstable();
        gone.dedup();
        left.push(gone);
    }
    groups
}

/// A group and all those around it.
fn around(groups: &[Group], group: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(group), |group| groups[*group].parent)
}
