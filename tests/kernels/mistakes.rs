//! Planted mistakes: each is found in whatever order threads run, and what is right is left alone.

use crate::emulator::call::{Argument, Boxed, Emulator, bytes};

/// A kernel of `bugs.cu`, its blocks, threads and dynamic shared bytes, its buffers of floats (`false`: nobody wrote them),
/// whether it takes their length, and words of what must be said.
type Mistake = (&'static str, usize, usize, usize, &'static [(usize, bool)], bool, &'static str);

const MISTAKES: &[Mistake] = &[
    (
        "bug_read_behind",
        1,
        128,
        0,
        &[(64, true), (1, true)],
        true,
        "out of bounds: a read of 4 bytes, at byte 256 of an allocation of 256",
    ),
    ("bug_write_behind", 1, 128, 0, &[(64, true)], true, "out of bounds: a write of 4 bytes"),
    ("bug_shared_behind", 1, 64, 0, &[(64, true)], false, "out of bounds: a write of 4 bytes in shared memory"),
    ("bug_array_index", 1, 9, 0, &[(9, true)], false, "out of bounds"),
    ("bug_dynamic_behind", 1, 64, 128, &[(64, true)], false, "out of bounds: a write of 4 bytes in shared memory"),
    ("bug_missing_barrier", 1, 64, 0, &[(64, true), (64, true)], false, "shared memory"),
    ("bug_second_barrier", 1, 64, 0, &[(64, true), (64, true)], false, "a data race in shared memory"),
    ("bug_missing_warp_barrier", 1, 32, 0, &[(32, true), (32, true)], false, "shared memory"),
    ("bug_blocks_race", 2, 64, 0, &[(64, true)], false, "a data race in global memory"),
    ("bug_uninitialised_shared", 1, 64, 0, &[(64, true)], false, "uninitialised shared memory"),
    ("bug_uninitialised_global", 1, 64, 0, &[(64, false), (64, true)], false, "uninitialised global memory"),
    (
        "bug_divergent_barrier",
        1,
        64,
        0,
        &[(64, true)],
        false,
        "24 threads returned while 40 wait at the barrier bugs.cu",
    ),
    ("bug_two_barriers", 1, 64, 0, &[(64, true)], false, "threads wait at different barriers"),
    ("bug_divergent_shuffle", 1, 32, 0, &[(32, true)], false, "waits for lanes that never come"),
    ("bug_missing_wait", 1, 32, 0, &[(128, true), (32, true)], false, "an unfinished copy"),
    ("bug_wait_without_barrier", 1, 32, 0, &[(128, true), (32, true)], false, "shared memory"),
    ("bug_misaligned", 1, 1, 0, &[(8, true), (1, true)], false, "misaligned"),
    ("bug_overflow", 1, 1, 0, &[(70_000, true)], true, "overflows"),
    ("fine_warp_barrier", 1, 32, 0, &[(32, true), (32, true)], false, ""),
    ("fine_atomics", 3, 64, 0, &[(1, true)], false, ""),
    ("fine_copies", 1, 32, 0, &[(128, true), (128, true)], false, ""),
];

/// Kernels of `bugs_hopper.cu`, and words of what must be said.
const BOX_MISTAKES: &[(&str, &str)] = &[
    ("bug_box_not_waited", "shared memory"),
    ("bug_box_not_released", "shared memory"),
    ("bug_box_released_early", "the unit that copies boxes"),
    ("bug_sums_touched", "sums are touched while products of four warps"),
    ("bug_sums_not_begun", "no wgmma.fence"),
    ("bug_written_without_fence", "no fence.proxy.async"),
    ("bug_barrier_not_known", "no fence.mbarrier_init"),
    ("bug_too_few_bytes", "0 arrivals and 16 bytes are missing"),
    ("bug_registers_changed", "registers are changed while products of four warps"),
    ("bug_registers_not_begun", "read registers that this thread wrote with no wgmma.fence"),
    ("fine_boxes", ""),
    ("fine_registers", ""),
    ("fine_written_with_fence", ""),
];

/// Nobody judges accesses in the fast build.
fn is_judged() -> bool {
    std::env::var("EMULATOR").map_or(true, |kind| kind != "fast")
}

#[test]
fn every_mistake_is_found_in_every_order() {
    let mut missed = Vec::new();
    if !is_judged() {
        return eprintln!("skipped: this build judges nothing");
    }
    for order in ["forward", "reverse", "1", "2"] {
        for &(name, blocks, threads, shared, buffers, sized, expected) in MISTAKES {
            let Some(emulator) = Emulator::new() else { return };
            emulator.order(order);
            let memory: Vec<_> = buffers
                .iter()
                .map(|&(length, written)| match written {
                    true => emulator.buffer(&vec![1f32; length]),
                    false => emulator.unwritten::<f32>(length),
                })
                .collect();
            let mut arguments: Vec<Argument> = memory.iter().map(|buffer| buffer.argument()).collect();
            if sized {
                arguments.push(bytes(buffers[0].0 as i32));
            }
            let said = emulator.launch(name, [blocks, 1, 1], threads, shared, &arguments).err().unwrap_or_default();
            if !said.contains(expected) || said.is_empty() != expected.is_empty() {
                missed.push(format!("{name}, threads {order}: wanted {expected:?}, got {said:?}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_is_said_names_kernel_thread_and_line() {
    if !is_judged() {
        return eprintln!("skipped: this build judges nothing");
    }
    let Some(emulator) = Emulator::new() else { return };
    let (x, y) = (emulator.buffer(&[1f32; 64]), emulator.buffer(&[1f32]));
    let said =
        emulator.launch("bug_read_behind", [1, 1, 1], 128, 0, &[x.argument(), y.argument(), bytes(64i32)]).unwrap_err();
    for words in ["bugs.cu:4", "in kernel bug_read_behind, block (0, 0, 0), thread (64, 0, 0)"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn mistakes_about_boxes_are_found_in_every_order() {
    if !is_judged() {
        return eprintln!("skipped: this build judges nothing");
    }
    let mut missed = Vec::new();
    for order in ["forward", "reverse", "1", "2"] {
        for &(name, expected) in BOX_MISTAKES {
            let Some(emulator) = Emulator::new() else { return };
            emulator.order(order);
            let (a, b) = (emulator.buffer(&[half::bf16::ONE; 64 * 64]), emulator.buffer(&[half::bf16::ONE; 128 * 64]));
            let y = emulator.unwritten::<f32>(64 * 128);
            let map = |buffer, rows| emulator.boxes(buffer, Boxed::Bf16, [64, rows, 1], [64, 64 * rows], rows);
            let arguments = [y.argument(), map(&a, 64), map(&b, 128)];
            let shared = (64 + 128) * 128 + 16;
            let said = emulator.launch(name, [1, 1, 1], 160, shared, &arguments).err().unwrap_or_default();
            if !said.contains(expected) || said.is_empty() != expected.is_empty() {
                missed.push(format!("{name}, threads {order}: wanted {expected:?}, got {said:?}"));
            } else if said.is_empty() {
                assert_eq!(y.read::<f32>(), vec![128.0; 64 * 128], "{name}, threads {order}");
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Kernels that copy a box to global memory.
const PUT_MISTAKES: &[(&str, &str)] = &[
    ("bug_put_without_fence", "no fence.proxy.async"),
    ("bug_put_overwritten", "the unit that copies boxes"),
    ("bug_put_not_awaited", "a thread ends while boxes"),
    ("fine_put", ""),
];

#[test]
fn mistakes_about_boxes_that_are_written_are_found_in_every_order() {
    if !is_judged() {
        return eprintln!("skipped: this build judges nothing");
    }
    for order in ["forward", "reverse", "1", "2"] {
        for &(name, expected) in PUT_MISTAKES {
            let Some(emulator) = Emulator::new() else { return };
            emulator.order(order);
            // Of the second box half lies inside.
            let y = emulator.unwritten::<half::bf16>(24 * 64);
            let map = emulator.boxes(&y, Boxed::Bf16, [64, 24, 1], [64, 64 * 24], 16);
            let said = emulator.launch(name, [1, 1, 1], 32, 16 * 128, &[map]).err().unwrap_or_default();
            let what = format!("{name}, threads {order}: wanted {expected:?}, got {said:?}");
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{what}");
            if said.is_empty() {
                assert_eq!(y.read::<half::bf16>(), vec![half::bf16::ONE; 24 * 64], "{what}");
            }
        }
    }
}

#[test]
fn numbers_that_nobody_rounded_to_tf32_are_found() {
    if !is_judged() {
        return eprintln!("skipped: this build judges nothing");
    }
    let Some(emulator) = Emulator::new() else { return };
    // Rounded they are ones, cut off too; they must be rounded all the same.
    let near_one = 1.0 + f32::EPSILON;
    let (a, b) = (emulator.buffer(&[near_one; 64 * 32]), emulator.buffer(&[near_one; 128 * 32]));
    let launch = |of| {
        let y = emulator.unwritten::<f32>(64 * 128);
        let map = |buffer, rows| emulator.boxes(buffer, of, [32, rows, 1], [32, 32 * rows], rows);
        let arguments = [y.argument(), map(&a, 64), map(&b, 128)];
        emulator.launch("products_of_tf32", [1, 1, 1], 160, (64 + 128) * 128 + 16, &arguments).map(|()| y)
    };
    let said = launch(Boxed::F32).err().unwrap_or_default();
    assert!(said.contains("nobody rounded"), "{said}");
    match launch(Boxed::Tf32) {
        Ok(y) => assert_eq!(y.read::<f32>(), vec![64.0; 64 * 128]),
        Err(said) => panic!("{said}"),
    }
}
