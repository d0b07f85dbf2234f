# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the mean out of a frame."""

from main_pc_code.agents.speech_agent import SpeechAgent


class FusedAudioPreprocessor(SpeechAgent):
    """``/?frame=3,-4,0``"""

    def work(self, query):
        samples = self.samples(query)
        mean = sum(samples) / len(samples)
        return {"frame": [sample - mean for sample in samples]}


if __name__ == "__main__":
    FusedAudioPreprocessor().run()
