"""Reports: results of accuracy and latency as pages, tables and charts.

Training draws its charts and renders its pages by the same `Chart`, `Table` and `render`.
"""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.report.chart import Chart, chart_style, new_figure
    from braintumor.bench.report.charts import (
        bar_chart,
        confusion_chart,
        interval_chart,
        pareto_chart,
        reliability_chart,
        spread_chart,
    )
    from braintumor.bench.report.html import Table, render
    from braintumor.bench.report.markdown import report_markdown
    from braintumor.bench.report.page import report_page
    from braintumor.bench.report.result import Report
    from braintumor.bench.report.write import write_report

__all__ = [
    "Chart",
    "Report",
    "Table",
    "bar_chart",
    "chart_style",
    "confusion_chart",
    "interval_chart",
    "new_figure",
    "pareto_chart",
    "reliability_chart",
    "render",
    "report_markdown",
    "report_page",
    "spread_chart",
    "write_report",
]

__getattr__ = lazy_getattr(
    __name__,
    chart=("Chart", "chart_style", "new_figure"),
    charts=("bar_chart", "confusion_chart", "interval_chart", "pareto_chart", "reliability_chart", "spread_chart"),
    html=("Table", "render"),
    markdown=("report_markdown",),
    page=("report_page",),
    result=("Report",),
    write=("write_report",),
)
