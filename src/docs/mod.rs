//! The prose: architecture, the contract with a driver, invariants, Raft's features and traps, what differs from Redis, what
//! can go wrong with a disk, testing, and how fast it is.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("io_contract.md")]
pub mod io_contract {}

#[doc = include_str!("invariants.md")]
pub mod invariants {}

#[doc = include_str!("raft.md")]
pub mod raft {}

#[doc = include_str!("redis_compatibility.md")]
pub mod redis_compatibility {}

#[cfg(feature = "sim")]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("storage_rows.md")]
pub mod storage_rows {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::string::String;
    use std::{format, fs};

    fn sources(directory: &Path, all: &mut String) {
        for entry in fs::read_dir(directory).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(path).expect("a source file"));
            }
        }
    }

    #[test]
    fn every_test_and_scenario_that_the_page_on_raft_names_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut all = String::new();
        sources(&root, &mut all);
        let mut named = 0;
        for row in include_str!("raft.md").lines().filter(|line| line.starts_with("| ")) {
            let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
            for name in tests.split('`').skip(1).step_by(2) {
                let scenario = root.join(format!("raft/testdata/{name}.txt"));
                assert!(all.contains(&format!("fn {name}()")) || scenario.exists(), "{name} is nowhere");
                named += 1;
            }
        }
        assert!(named > 80, "{named}");
    }
}
