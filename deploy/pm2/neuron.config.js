// The miner on a machine without the pipeline, where `streetvision up --only neuron` is not to be had:
//   pm2 start deploy/pm2/neuron.config.js
// Keys and addresses stand in section `neuron` of params.yaml, and none in here.
const path = require("path");
const project = path.resolve(__dirname, "../..");

module.exports = {
  apps: [
    {
      name: "neuron",
      script: path.join(project, ".venv/bin/streetvision"),
      interpreter: "none",
      exec_mode: "fork",
      args: ["neuron"],
      cwd: project,
      autorestart: true,
      // from 1 s on, half as long again each time, 15 s at most, for ever
      exp_backoff_restart_delay: 1000,
      max_restarts: 1000000,
      // it has one process, and holds about 120 MB
      max_memory_restart: "1G",
      // challenges under way get 10 s
      kill_timeout: 15000,
      out_file: path.join(project, "var/neuron.log"),
      error_file: path.join(project, "var/neuron.log"),
      merge_logs: true,
      pmx: false,
      vizion: false,
    },
  ],
};
