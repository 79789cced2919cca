"""The parts of bench/run: one module for each thing that is measured."""
