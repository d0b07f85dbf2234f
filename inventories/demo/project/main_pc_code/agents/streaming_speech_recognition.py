# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts zero crossings, the oldest trick to tell speech from hum."""

from main_pc_code.agents.speech_agent import SpeechAgent


class StreamingSpeechRecognition(SpeechAgent):
    """``/?frame=3,-4,0``"""

    def work(self, query):
        samples = self.samples(query)
        crossings = sum(1 for a, b in zip(samples, samples[1:]) if a * b < 0)
        return {"crossings": crossings, "speech": crossings * 4 > len(samples)}


if __name__ == "__main__":
    StreamingSpeechRecognition().run()
