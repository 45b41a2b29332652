# A host with an agent. The configuration is checked before it gets into its place.
class sigtrail (
  # The text of /etc/sigtrail/sigtrail.yaml; it names the policies as /etc/sigtrail/policy.d/NAME.
  String $config,
  # Policies: the text of each file, by name.
  Hash[String, String] $policies = {},
) {
  package { 'sigtrail':
    ensure => installed,
  }

  file { '/etc/sigtrail/policy.d':
    ensure  => directory,
    owner   => 'root',
    group   => 'sigtrail',
    mode    => '0750',
    require => Package['sigtrail'],
  }

  $policies.each |String $name, String $text| {
    file { "/etc/sigtrail/policy.d/${name}":
      owner        => 'root',
      group        => 'sigtrail',
      mode         => '0640',
      content      => $text,
      validate_cmd => '/usr/bin/sigtrail policy check %',
      before       => File['/etc/sigtrail/sigtrail.yaml'],
      notify       => Exec['sigtrail reads its policies'],
    }
  }

  file { '/etc/sigtrail/sigtrail.yaml':
    owner        => 'root',
    group        => 'sigtrail',
    mode         => '0640',
    content      => $config,
    validate_cmd => '/usr/bin/sigtrail config --check %',
    require      => Package['sigtrail'],
    notify       => Service['sigtrail'],
  }

  service { 'sigtrail':
    ensure => running,
    enable => true,
  }

  # a reload is enough for policies
  exec { 'sigtrail reads its policies':
    command     => '/bin/systemctl reload sigtrail',
    refreshonly => true,
    require     => Service['sigtrail'],
  }
}
