"""Stage audit: what may be wrong with the data, and the rows to look at. It never stops a run."""

from __future__ import annotations

import logging

from tasks.auditing.audited_texts import load_texts
from tasks.auditing.findings import Findings, audit_of
from tasks.auditing.judgement import judge
from tasks.auditing.review_file import write_review
from tasks.auditing.review_rows import review_rows
from tasks.auditing.text_states import compare_states, compute_states
from tokensieve.audit.duplicate_sets import copies_of, find_duplicates
from tokensieve.files import atomic_folder
from tokensieve.project import Layout
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")


def audit(layout: Layout, settings: Settings) -> None:
    """Write audit.json, the findings, and review.csv, the rows to look at. Log their numbers."""
    texts = load_texts(layout, settings)
    different, own = copies_of(texts.texts)
    states = compute_states(layout, settings, texts)
    meaning, outliers = compare_states(states, own, settings.data.seed)
    sets = find_duplicates(different, own, texts.labels, texts.parts, meaning)
    judgement = judge(texts, states, own, settings.data.seed)
    rows = review_rows(texts, sets, judgement.suspects, outliers)
    findings = Findings(texts, sets, judgement, outliers, len(rows))
    with atomic_folder(layout.audit) as folder:
        write_review(folder / layout.review.name, rows, texts, settings)
        found = audit_of(findings, layout, settings)
        found.save(folder)
    if headline := found.headline():
        log.info("audit: %s; %s has %d rows", headline, layout.review, len(rows))
