//! Every test of the MIT lab, in simulated time, under its own name. What they are is on the page of
//! [`quorate::sim::lab`].
//!
//! A failure names its seed. To run that one alone:
//!
//! ```text
//! QUORATE_SEED=17 cargo test --test lab <name of the test>
//! ```
//!
//! `QUORATE_SEEDS=1000` runs so many seeds of each test instead of three; `--nocapture` shows what each came to.

use quorate::sim::lab::{LabReport, catalogue, summary};

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn run(name: &str) {
    let test = catalogue().iter().find(|test| test.name == name).expect("a test of the catalogue");
    let seeds = match number("QUORATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("QUORATE_SEEDS").unwrap_or(3),
    };
    let (mut sum, count) = (LabReport::default(), seeds.end - seeds.start);
    for seed in seeds {
        match test.run(seed) {
            Ok(report) => sum.add(&report),
            Err(violation) => {
                panic!("{violation}\nto replay: QUORATE_SEED={seed} cargo test --test lab {name}")
            }
        }
    }
    println!("{}", summary(test, count, &sum));
}

macro_rules! lab_tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_test_of_the_catalogue_is_here() {
            let names: Vec<&str> = catalogue().iter().map(|test| test.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

lab_tests! {
    initial_election_2a
    re_election_2a
    many_elections_2a
    basic_agree_2b
    rpc_bytes_2b
    follower_failure_2b
    leader_failure_2b
    fail_agree_2b
    fail_no_agree_2b
    concurrent_starts_2b
    rejoin_2b
    backup_2b
    count_2b
    persist_1_2c
    persist_2_2c
    persist_3_2c
    figure_8_2c
    unreliable_agree_2c
    figure_8_unreliable_2c
    reliable_churn_2c
    unreliable_churn_2c
    snapshot_basic_2d
    snapshot_install_2d
    snapshot_install_unreliable_2d
    snapshot_install_crash_2d
    snapshot_install_un_crash_2d
    snapshot_all_crash_2d
    snapshot_init_2d
    basic_3a
    speed_3a
    concurrent_3a
    unreliable_3a
    unreliable_one_key_3a
    one_partition_progress_in_majority_3a
    one_partition_no_progress_in_minority_3a
    one_partition_completion_after_heal_3a
    many_partitions_one_client_3a
    many_partitions_many_clients_3a
    persist_one_client_3a
    persist_concurrent_3a
    persist_concurrent_unreliable_3a
    persist_partition_3a
    persist_partition_unreliable_3a
    persist_partition_unreliable_linearizable_3a
    snapshot_rpc_3b
    snapshot_size_3b
    speed_3b
    snapshot_recover_3b
    snapshot_recover_many_clients_3b
    snapshot_unreliable_3b
    snapshot_unreliable_recover_3b
    snapshot_unreliable_recover_concurrent_partition_3b
    snapshot_unreliable_recover_concurrent_partition_linearizable_3b
}

#[test]
fn same_seed_same_run() {
    let test = catalogue().iter().find(|test| test.name == "unreliable_churn_2c").expect("is there");
    assert_eq!(test.run(7), test.run(7));
    assert_ne!(test.run(7), test.run(8));
}
