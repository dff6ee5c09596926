// Judges variants of a model on an agent, and ends the stage as `sluice gate` does: a fail and an
// inconclusive verdict end the build. With `inconclusive: 'UNSTABLE'` the latter is an unstable build, which
// goes on: look at what is returned. No setting makes it green.
//
//   sluiceGate model: 'whisper-grid', sluice: '/opt/sluice', variants: 'openvino-int8'
//
// Returns the verdict: pass, fail, error or inconclusive. Needs the plugins JUnit and HTML Publisher.
def call(Map given) {
  def settings = [variants: '', artifact: '', workspace: '.', sluice: '.', inconclusive: 'FAILURE'] + given
  if (!settings.model) {
    error 'sluiceGate: which model? sluiceGate model: NAME'
  }
  def report = 'build/sluice-gate'
  def code = 2
  withEnv([
    "MODEL=${settings.model}",
    "VARIANTS=${settings.variants}",
    "ARTIFACT=${settings.artifact}",
    "SLUICE_WORKSPACE=${settings.workspace}",
    "SLUICE_ACTOR=jenkins:${env.JOB_NAME}",
    "SLUICE_CHECKOUT=${settings.sluice}",
    "REPORT=${report}"
  ]) {
    sh 'cd "$SLUICE_CHECKOUT" && python3.11 -m infra.environments control serving'
    code = sh(
      returnStatus: true,
      script: 'PATH="$SLUICE_CHECKOUT/.venv/bin:$PATH" bash "$SLUICE_CHECKOUT/infra/ci/gate.sh"'
    )
  }
  junit testResults: "${report}/junit.xml", allowEmptyResults: true
  publishHTML target: [
    reportName: 'Gate', reportDir: "${report}/pages", reportFiles: '*.html',
    allowMissing: true, alwaysLinkToLastBuild: true, keepAll: true
  ]
  archiveArtifacts artifacts: "${report}/**", allowEmptyArchive: true
  if (code == 3) {
    def told = 'the gate is inconclusive: neither shown to be good enough nor to be worse'
    if (settings.inconclusive != 'UNSTABLE') {
      error told
    }
    unstable told
    return 'inconclusive'
  }
  if (code == 1) {
    error 'the gate refuses the model: shown to be worse than allowed'
  }
  if (code != 0) {
    error "the gate could not judge (exit ${code}): wrong use or a broken engine"
  }
  return 'pass'
}
