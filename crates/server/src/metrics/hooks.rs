//! Series of callbacks.

use std::fmt;

use weir_hooks::Hooks;

use super::page::Page;

/// Writes what is known of `hooks`.
pub fn write(page: &mut Page<'_>, hooks: &Hooks) -> fmt::Result {
    let figures = hooks.figures();
    page.counters(
        "weir_hook_events",
        "Events that back ends were told of or asked about (hooks), by what became of them.",
        figures.events().map(|(action, outcome, count)| {
            (vec![("hook", action.label()), ("result", outcome.label())], count as f64)
        }),
    )?;
    page.counters(
        "weir_heartbeats",
        "Heartbeats that were sent, by whether they were heard.",
        ["accepted", "failed"]
            .into_iter()
            .zip(figures.beats())
            .map(|(result, count)| (vec![("result", result)], count as f64)),
    )?;
    page.counter(
        "weir_hook_failures",
        "Calls to back ends that failed: no connection, no answer in time, or no valid answer.",
        figures.failures() as f64,
    )?;
    page.histogram("weir_hook_seconds", "Duration of calls to back ends.", &figures.took())?;
    page.gauge(
        "weir_hook_waiting",
        "Events that wait for their turn, or for an answer.",
        figures.waiting() as f64,
    )?;
    page.gauge(
        "weir_hook_backends_failing",
        "Back ends whose last call failed.",
        hooks.failing() as f64,
    )
}
