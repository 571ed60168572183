"""How long a file takes: medians, files in turns."""

from keras_transfer.export import latency, timing


class Clock:
    """Time that passes only where a fake interpreter says so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Fake:
    """An interpreter whose pictures take the given seconds, in turn."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.count, self.input_shape = clock, seconds, 0, (1, 2, 2, 3)

    def run(self, picture):
        assert picture.shape == (2, 2, 3)
        self.clock.now += self.seconds[self.count % len(self.seconds)]
        self.count += 1


def test_number_the_median_of_each_file(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    slow, fast = Fake(clock, [0.010, 0.010, 0.900]), Fake(clock, [0.001])
    assert timing._medians([slow, fast], 1000.0) == [10.0, 1.0]
    assert (slow.count, fast.count) == (52, 52)  # two to warm up, fifty in turns
    slow = Fake(clock, [1.0])
    assert timing._medians([slow], 0.3) == [1000.0]
    assert slow.count == 7  # five at least


def test_effect_a_real_file(exported):
    found = latency(exported[0] / "model_float32.tflite", threads=(1, 2, 3), seconds=0.01)
    assert list(found) == ["1", "2", "3"]
    assert all(0 < value < 1000 for value in found.values())
