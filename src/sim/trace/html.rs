//! A run as a page that a person looks at: one file, which asks nothing of any network.

use std::string::String;

use super::event::{TraceEvent, What};
use super::{RunFacts, write_ndjson};

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const MODEL: &str = include_str!("page/model.js");
const DRAW: &str = include_str!("page/draw.js");
const MAIN: &str = include_str!("page/main.js");

/// The page of a run. Steps that changed nothing are left out.
pub fn render_html<'a>(facts: &RunFacts, events: impl IntoIterator<Item = &'a TraceEvent>) -> String {
    let matters = |event: &&TraceEvent| match &event.what {
        What::Step(step) => !step.changes.is_empty(),
        _ => true,
    };
    let mut trace = String::new();
    // A string takes all that is written to it.
    let _ = write_ndjson(facts, events.into_iter().filter(matters), &mut trace);
    let parts = [
        ("/*STYLE*/", STYLE),
        ("/*TRACE*/", &trace),
        ("/*MODEL*/", MODEL),
        ("/*DRAW*/", DRAW),
        ("/*MAIN*/", MAIN),
    ];
    let len = parts.iter().map(|(_, part)| part.len()).sum::<usize>();
    let mut page = String::with_capacity(PAGE.len() + len);
    let mut rest = PAGE;
    for (mark, part) in parts {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::NodeId;
    use crate::sim::Violation;

    #[test]
    fn the_page_is_whole_asks_for_nothing_and_cannot_be_broken_by_what_it_shows() {
        let hostile = "</script><script src=//x> /*DRAW*/";
        let node = NodeId(1);
        let facts = RunFacts {
            seed: 1,
            profile: hostile.into(),
            replay: hostile.into(),
            nodes: [node].into(),
            forgotten: 0,
            violation: Some(Violation { seed: 1, at: 5, node, what: hostile.into() }),
        };
        let note = TraceEvent { at: 4, node: Some(node), what: What::Note { text: hostile.into() } };
        let page = render_html(&facts, [&note]);
        assert_eq!(page.matches("</script").count(), 2, "the trace's and the page's own");
        for part in [STYLE, MODEL, DRAW, MAIN] {
            assert_eq!(page.matches(part.trim()).count(), 1);
        }
        for asks in ["http:", "https:", "<script src", "<link", "@import", "url(", "fetch(", "XMLHttpRequest"]
        {
            assert!(!page.contains(asks), "{asks}");
        }
        assert!(page.contains(r#""name":"Note","node":1"#) && page.ends_with("</html>\n"));
    }
}
