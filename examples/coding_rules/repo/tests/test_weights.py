"""Weights as customers write them."""

import unittest

from parcels.weights import read_weight


class Weights(unittest.TestCase):
    def test_reads_kilograms(self) -> None:
        self.assertEqual(read_weight("2.5 kg"), 2.5)

    def test_refuses_what_is_no_weight(self) -> None:
        for text in ("heavy", "2.5 lb", ""):
            with self.assertRaises(ValueError):
                read_weight(text)
