//! What cameras write beside the pixels: which way is up.

/// The tag of the orientation, and the type of its number: one of two bytes.
const ORIENTATION: [u16; 2] = [0x0112, 3];

/// The orientation of Exif data, from 1 to 8; 1, as it stands, where they say none or make no sense: a picture does not suffer
/// from what is written beside it.
pub(super) fn orientation(data: &[u8]) -> u16 {
    read(data).filter(|number| (1..=8).contains(number)).unwrap_or(1)
}

fn read(data: &[u8]) -> Option<u16> {
    let small_end_first = match data.first_chunk()? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let two = |at: usize| {
        let bytes = *data.get(at..)?.first_chunk()?;
        Some(if small_end_first { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let four = |at: usize| {
        let bytes = *data.get(at..)?.first_chunk()?;
        Some(if small_end_first { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    if two(2)? != 42 {
        return None;
    }
    let list = usize::try_from(four(4)?).ok()?;
    let entries = list.checked_add(2)?;
    for index in 0..usize::from(two(list)?) {
        // A tag, a type, a count, and four bytes that hold the number itself where it fits.
        let entry = entries.checked_add(12 * index)?;
        if [two(entry)?, two(entry + 2)?] == ORIENTATION && four(entry + 4)? == 1 {
            return two(entry + 8);
        }
    }
    None
}
