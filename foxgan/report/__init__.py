"""One offline HTML page that shows what a pipeline did."""
