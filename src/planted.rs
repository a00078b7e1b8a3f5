//! Places for planted bugs: tests of the tests.
//!
//! `planted!("name")` stands where a change of a line makes a known mistake, and is true while the simulator has that bug
//! of its catalogue (`src/sim/planted/catalogue.rs`) switched on. It comes last in a condition, so that it is asked only
//! where the mistake makes a difference. Outside the library's own unit tests and without the feature `planted-bugs` it is
//! the constant `false`, and nothing of it is left in what is compiled.

/// Whether this bug is switched on. A name that the catalogue does not have does not compile.
#[cfg(any(test, feature = "planted-bugs"))]
macro_rules! planted {
    ($name:literal) => {{
        const PLACE: usize = $crate::sim::planted::place($name);
        $crate::sim::planted::is_active(PLACE)
    }};
}

/// Whether this bug is switched on: none is.
#[cfg(not(any(test, feature = "planted-bugs")))]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}
