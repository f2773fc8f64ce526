"""Reading what `/metrics` answers."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """Samples by their names and labels."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def __call__(self, metric: str, **labels: str) -> float:
        """The one sample with all these labels and no others; 0 when there is none."""
        return self._samples.get((metric, frozenset(labels.items())), 0)

    def labels(self, metric: str, name: str) -> set[str]:
        """The values of one label."""
        return {dict(labels)[name] for sample, labels in self._samples if sample == metric}

    def names(self) -> set[str]:
        return {name for name, _ in self._samples}
