# Answers requests with verdicts of the model that is mounted at /model: docs/serving.md.
FROM python:3.12-slim

RUN useradd --create-home --uid 10001 serving
WORKDIR /app

# The versions of the lock, also of Pillow: a detector counts compressed bytes, and judges by the codecs that it was made with.
COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-deps .

USER serving
WORKDIR /home/serving
# One thread a process: threads of one operation would wait for each other.
ENV OMP_NUM_THREADS=1
EXPOSE 5001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5001/ping', timeout=4)"]
# All addresses of the container; docker run's --publish decides who reaches them.
CMD ["mlflow", "models", "serve", "--model-uri", "/model", "--env-manager", "local", "--host", "0.0.0.0", "--port", "5001"]
