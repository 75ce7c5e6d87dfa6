//! No program costs much more than the budget says: instructions in the verifier and octets of machine
//! code, on the kernel that runs the test. Needs root.
#![forbid(unsafe_code)]

use vm_tests::bench::budget::{Budget, TOLERANCE, kernel};
use vm_tests::bench::programs::costs;

#[test]
fn no_program_costs_more_than_its_budget() {
    let budget = Budget::read().expect("the budget is readable");
    let kernel = kernel().expect("the kernel has a version");
    let mut over = Vec::new();
    for (program, cost) in costs().expect("the kernel takes the programs") {
        let line = budget.line(&kernel, program.name()).expect("every program has a line");
        println!("{program}: {cost:?}, budget {line:?}");
        for (what, cost, line) in [
            ("verified instructions", cost.verified, line.verified),
            ("octets of machine code", cost.jited, line.jited),
        ] {
            if f64::from(cost) > f64::from(line) * TOLERANCE {
                over.push(format!("{program}: {cost} {what}, its line says {line}"));
            }
        }
    }
    assert!(
        over.is_empty(),
        "more than 10 % over vm-tests/budget.toml; make them cheaper, or raise the line and say why:\n{}",
        over.join("\n")
    );
}
