"""A loop's figures for those who collect metrics: ``prometheus`` and ``opentelemetry``, each with the package of its name."""
