# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes frames of sound and tells how loud they are."""

from main_pc_code.agents.speech_agent import SpeechAgent


class AudioCapture(SpeechAgent):
    """``/?frame=3,-4,0``"""

    def work(self, query):
        samples = self.samples(query)
        return {"loudness": sum(abs(sample) for sample in samples) / len(samples)}


if __name__ == "__main__":
    AudioCapture().run()
